// How a block of the scan cuts its work: so many rows against a tile of keys, by eight warps.
//
//   shape   rows  warps      a warp's scores   rows in shared memory
//   k16      16   1 x 8      16 x 16           for the whole scan
//   k64      64   2 x 4      32 x 32           for the whole scan
//   k128    128   2 x 4      64 x 32           for the whole scan
//   k256    256   4 x 2      64 x 64           for the whole scan
//   k64Streamed 64, 2 x 4    32 x 32           a chunk at a time, with the keys: dimensions for which they do not fit
//
// Shared memory: stages of 64 components of 128 keys (16 KiB), the rows (2 bytes a component), and the queue of scores that
// reached a threshold. Six stages keep 80 KiB of keys on their way to each multiprocessor, which is what the bandwidth of
// 132 of them times a latency of a microsecond asks for, twice.
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/index/gpu/kernel_args.h"

namespace evoke::gpu {

inline constexpr uint32_t kLineBytes = kChunk * 2;  // of a row or key in a stage
inline constexpr uint32_t kPieces = kLineBytes / 16;
inline constexpr uint32_t kQueue = 1024;    // scores that wait for their place in a list
inline constexpr uint32_t kFlushFrom = 256;  // of them, before a tile; one for each thread

// A score that reached its row's threshold.
struct Hit {
  float score;
  uint32_t row;
  uint32_t position;
};

struct HitQueue {
  uint32_t count;  // those that found no place here among them
  uint32_t unused[3];
  Hit hits[kQueue];
};

template <uint32_t kRowsOf, uint32_t kRowWarpsOf, uint32_t kStagesOf, bool kResidentOf>
struct ScanShapeOf {
  static constexpr uint32_t kRows = kRowsOf;
  static constexpr uint32_t kRowWarps = kRowWarpsOf;
  static constexpr uint32_t kKeyWarps = kBlockThreads / kWarp / kRowWarps;
  static constexpr uint32_t kWarpRows = kRows / kRowWarps;
  static constexpr uint32_t kWarpKeys = kTileKeys / kKeyWarps;
  static constexpr uint32_t kRowTiles = kWarpRows / 16;  // of mma.m16n8k16
  static constexpr uint32_t kKeyTiles = kWarpKeys / 8;
  static constexpr uint32_t kStages = kStagesOf;
  static constexpr bool kResident = kResidentOf;
  static constexpr uint32_t kStageBytes = (kTileKeys + (kResident ? 0 : kRows)) * kLineBytes;
  // A lane's scores of one row and tile make one maximum of a sample.
  static constexpr uint32_t kGroupsATile = kKeyWarps * 4;
  static constexpr uint32_t kGroupKeys = kTileKeys / kGroupsATile;

  static_assert(kRowTiles * 16 * kRowWarps == kRows && kKeyTiles * 8 * kKeyWarps == kTileKeys);
  static_assert(kKeyTiles % 2 == 0);       // LoadMatrices takes two at a time
  static_assert(kGroupKeys <= 32);         // a bit each
  static_assert(kBlockThreads <= kQueue);  // one flush takes what a thread each has found

  static constexpr size_t RowBytes(uint32_t stride) {
    return kResident ? size_t{(stride + kChunk - 1) / kChunk} * kRows * kLineBytes : 0;
  }
  static constexpr size_t SharedBytes(uint32_t stride) {
    return size_t{kStages} * kStageBytes + RowBytes(stride) + sizeof(HitQueue);
  }
};

enum class ScanShape : uint8_t { k16, k64, k128, k256, k64Streamed };
inline constexpr ScanShape kScanShapes[] = {ScanShape::k16, ScanShape::k64, ScanShape::k128, ScanShape::k256,
                                            ScanShape::k64Streamed};

using Scan16 = ScanShapeOf<16, 1, 6, true>;
using Scan64 = ScanShapeOf<64, 2, 5, true>;
using Scan128 = ScanShapeOf<128, 2, 4, true>;
using Scan256 = ScanShapeOf<256, 4, 4, true>;
using Scan64Streamed = ScanShapeOf<64, 2, 3, false>;  // two blocks a multiprocessor, or a small one's only shape

// use(Scan16{}), or of whichever shape it is.
template <typename Use>
auto WithShape(ScanShape shape, Use use) {
  switch (shape) {
    case ScanShape::k16:
      return use(Scan16{});
    case ScanShape::k64:
      return use(Scan64{});
    case ScanShape::k128:
      return use(Scan128{});
    case ScanShape::k256:
      return use(Scan256{});
    case ScanShape::k64Streamed:
      break;
  }
  return use(Scan64Streamed{});
}

}  // namespace evoke::gpu
