// The scan with AVX-512 VNNI: one instruction multiplies four components of 16 rows, of 8 bits each, and adds the products.
//
// Keys of a block are rounded from the high plane as the block's turn comes, into a buffer that stays in the first-level
// cache: work that is shared by all rows, so it pays from a few dozen on. The instruction multiplies unsigned with signed
// numbers: keys are stored 128 too high, and a row's sums begin 128 times the sum of its components too low. Sums are
// exact: at most kInt8MostDim * 255 * 127 < 2^31.
#include <immintrin.h>

#include "server/index/int8_scale.h"
#include "server/index/scan_tiles.h"

namespace evoke::scan_internal {
namespace {

constexpr int kOffset = 128;

struct Avx512Vnni {
  static constexpr size_t kLanes = 16;
  static constexpr size_t kMaxGroups = 4;
  static constexpr uint32_t kStep = 4;
  static constexpr size_t kStepBytes = 64;
  static constexpr size_t kHeaderBytes = 128;  // what sums begin with, then the rows' scales
  static constexpr uint32_t Keys(size_t groups) { return groups == 4 ? 6 : groups == 3 ? 8 : groups == 2 ? 12 : 16; }
  using Element = uint8_t;
  static constexpr bool kScaled = true;
  using Scale = float;
  using Sums = __m512i;
  using Vector = __m512;
  using Rows = __m512i;
  using Key = __m512i;

  static Sums Begin(const char* header) { return _mm512_load_si512(header); }
  static Vector Load(const float* p) { return _mm512_loadu_ps(p); }
  static Rows LoadRows(const char* p) { return _mm512_load_si512(p); }
  static Key LoadKey(const uint8_t* p) {
    int four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  // _mm512_dpbusd_epi32(sums, key, rows); with the intrinsic GCC 12 keeps half of the sums on the stack.
  static Sums Add(Sums sums, Rows rows, Key key) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(key), "v"(rows));
    return sums;
  }
  static Vector Finish(Sums sums, const char* header, float scale) {
    const __m512 rows = _mm512_load_ps(header + 64);
    return _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), rows), _mm512_set1_ps(scale));
  }
  static uint32_t Reach(Vector scores, Vector limit) { return _mm512_cmp_ps_mask(scores, limit, _CMP_GE_OQ); }
  static void Store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
};

using Tiles = ScanTiles<Avx512Vnni>;

constexpr uint32_t kVector = 16;

inline __m512 Floats(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline __mmask16 Mask(uint32_t left) { return left < kVector ? static_cast<__mmask16>((1u << left) - 1) : 0xffff; }

// The largest absolute component, of bfloat16: without their signs they are ordered as whole numbers are.
inline float Largest(const uint16_t* high, uint32_t dim) {
  constexpr uint32_t kHalves = 32;
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  __m512i largest = _mm512_setzero_si512();
  for (uint32_t e = 0; e < dim; e += kHalves) {
    const __mmask32 mask = dim - e < kHalves ? (1u << (dim - e)) - 1 : ~0u;
    largest = _mm512_max_epu16(largest, _mm512_and_si512(_mm512_maskz_loadu_epi16(mask, high + e), magnitude));
  }
  const __m256i of16 = _mm256_max_epu16(_mm512_castsi512_si256(largest), _mm512_extracti64x4_epi64(largest, 1));
  const __m128i of8 = _mm_max_epu16(_mm256_castsi256_si128(of16), _mm256_extracti128_si256(of16, 1));
  // There is an instruction for the least of eight.
  const __m128i least = _mm_minpos_epu16(_mm_xor_si128(of8, _mm_set1_epi16(-1)));
  const uint32_t bits = ~static_cast<uint32_t>(_mm_cvtsi128_si32(least)) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof(result));
  return result;
}

// out[dim rounded up to 16] and its scale, of bfloat16 components. Sixty-four of them change places as two instructions
// leave them, rows' as well as keys', so that no product is of others than before.
inline float Round(const uint16_t* high, uint32_t dim, uint8_t* out) {
  constexpr uint32_t kTogether = 64;
  const Int8Scale scale = ScaleOf(Largest(high, dim));
  const __m512 inverse = _mm512_set1_ps(scale.inverse);
  const auto whole = [inverse](__m512i bits) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_castsi512_ps(bits), inverse));
  };
  const __m512i second_half = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512i offsets = _mm512_set1_epi8(static_cast<char>(kOffset));
  uint32_t e = 0;
  for (; e + kTogether <= dim; e += kTogether) {
    const __m512i a = _mm512_loadu_si512(high + e);
    const __m512i b = _mm512_loadu_si512(high + e + kTogether / 2);
    const __m512i even = _mm512_packs_epi32(whole(_mm512_slli_epi32(a, 16)), whole(_mm512_slli_epi32(b, 16)));
    const __m512i odd =
        _mm512_packs_epi32(whole(_mm512_and_si512(a, second_half)), whole(_mm512_and_si512(b, second_half)));
    _mm512_storeu_si512(out + e, _mm512_xor_si512(_mm512_packs_epi16(even, odd), offsets));
  }
  for (; e < dim; e += kVector) {
    const __m512 x = Floats(_mm256_maskz_loadu_epi16(Mask(dim - e), high + e));
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + e), _mm_xor_si128(bytes, _mm512_castsi512_si128(offsets)));
  }
  return scale.scale;
}

constexpr uint32_t kTileKeys = 48;  // whole tiles of every shape
constexpr uint32_t kBufferBytes = 16384;
constexpr uint32_t kMaxKeys = 480;

void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  char* bytes = static_cast<char*>(group);
  __builtin_memset(bytes, 0, Tiles::GroupBytes(dim));
  int begin[kVector] = {};
  float scales[kVector] = {};
  alignas(64) uint16_t high[kInt8MostDim + kVector];
  alignas(64) uint8_t rounded[kInt8MostDim + kVector];
  for (size_t l = 0; l < count; ++l) {
    for (uint32_t e = 0; e < dim; ++e) {
      uint32_t bits;
      __builtin_memcpy(&bits, rows + l * dim + e, sizeof(bits));
      high[e] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    }
    scales[l] = Round(high, dim, rounded);
    for (uint32_t e = 0; e < dim; ++e) {
      const int x = static_cast<int>(rounded[e]) - kOffset;
      begin[l] -= kOffset * x;
      bytes[Avx512Vnni::kHeaderBytes + (e / 4 * kVector + l) * 4 + e % 4] = static_cast<char>(x);
    }
  }
  __builtin_memcpy(bytes, begin, sizeof(begin));
  __builtin_memcpy(bytes + sizeof(begin), scales, sizeof(scales));
}

size_t Scan(const ScanKeys& keys, const void* packed, size_t groups, const float* thresholds, ScanHit* hits) {
  alignas(64) uint8_t rounded[kTileKeys * kInt8MostDim];
  float scales[kMaxKeys];
  const uint32_t stride = (keys.dim + kVector - 1) / kVector * kVector;
  uint32_t most = kBufferBytes / stride / kTileKeys * kTileKeys;
  most = most < kTileKeys ? kTileKeys : most > kMaxKeys ? kMaxKeys : most;
  const size_t block_bytes = keys.count * keys.stride * sizeof(uint16_t);
  ScanHit* end = hits;
  for (uint32_t at = 0; at < keys.count; at += most) {
    const uint32_t count = keys.count - at < most ? keys.count - at : most;
    for (uint32_t k = 0; k < count; ++k) {
      const uint16_t* key = keys.high + (at + k) * keys.stride;
      constexpr uint32_t kLine = 32;  // components; the block that follows is in cache when its turn comes
      const uint16_t* later = key + block_bytes / sizeof(uint16_t);
      for (uint32_t e = 0; e < keys.dim; e += kLine) __builtin_prefetch(later + e, 0, 2);
      scales[k] = Round(key, keys.dim, rounded + k * stride);
    }
    const Tiles::Keys block{rounded, stride, count, keys.dim, scales};
    end = Tiles::ScanBlock(block, packed, groups, thresholds, at, end);
  }
  return static_cast<size_t>(end - hits);
}

}  // namespace

constinit const ScanKernels kAvx512Vnni = {
    ScanPath::kAvx512Vnni, Avx512Vnni::kLanes, Rounding::kInt8, Rounding::kInt8, Tiles::GroupBytes, Pack, Scan,
};

}  // namespace evoke::scan_internal
