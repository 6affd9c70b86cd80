// Rough scores of keys, for proposals only: the instruction-set paths of the certified scan (certified_scan.h).
//
// A path scores a block of keys, of which it reads the high plane (bfloat16), against packed rows, and reports each score
// that reaches its row's threshold; the scores themselves never leave the registers. Rows are packed by groups, a lane a
// row: one load of two key components serves a whole group. Accumulation is float32, in an order of the path's own, with
// subnormals flushed or not: `RoughErrorBound` covers every path.
//
// Included by sources that are compiled for one instruction set only: nothing inline with external linkage here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evoke {

// In ascending order of preference.
enum class ScanPath { kPortable, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmxBf16 };

// What a vector is replaced with before its inner products are taken.
//   kBfloat16  the nearest bfloat16 of each component: what is in the high plane
//   kInt8      of those, whole multiples of 1/127 of the largest (Int8Scale)
enum class Rounding { kNone, kBfloat16, kInt8 };

// Keys of more components are never rounded to 8 bits: what is lost grows beside the distance between keys, and more of
// them survive than the quicker products are worth.
constexpr uint32_t kInt8MostDim = 512;

// A score of key `first + key` for row `row` (of those packed together) that reached the row's threshold.
struct ScanHit {
  uint32_t key;
  uint32_t row;
  float score;
};

// A block of keys: key i is at high + i * stride, and may be read for 64 components beyond its end.
struct ScanKeys {
  const uint16_t* high;
  size_t stride;  // components
  uint32_t count;
  uint32_t dim;
};

struct ScanKernels {
  ScanPath path;
  uint32_t lanes;       // rows of a group; 1 where lanes are components, for a handful of rows
  Rounding rows;
  Rounding keys;
  // Bytes of a packed group, a multiple of 64.
  size_t (*group_bytes)(uint32_t dim);
  // Packs `count` <= lanes rows [count, dim], 64-byte aligned; the other lanes are zeros.
  void (*pack)(const float* rows, size_t count, uint32_t dim, void* group);
  // Scores all keys against `groups` groups that lie one after the other. thresholds[groups * lanes]; +infinity for lanes
  // that nobody asks about. Returns how many hits it wrote: at most keys.count * groups * lanes.
  size_t (*scan)(const ScanKeys& keys, const void* packed, size_t groups, const float* thresholds, ScanHit* hits);
};

namespace scan_internal {
extern const ScanKernels kPortable;
#if defined(__x86_64__)
extern const ScanKernels kAvx2, kAvx2Few;                                // need AVX2 and FMA
extern const ScanKernels kAvx512, kAvx512Eight, kAvx512Few;              // need AVX-512F
extern const ScanKernels kAvx512Bf16, kAvx512Bf16Eight, kAvx512Bf16Few;  // need AVX-512F, BW and BF16
extern const ScanKernels kAvx512Vnni;                                    // needs AVX-512F, BW, VL and VNNI
extern const ScanKernels kAmxBf16;  // needs AMX-BF16 and AVX-512F, and the kernel's permission for tiles
#endif
}  // namespace scan_internal
}  // namespace evoke
