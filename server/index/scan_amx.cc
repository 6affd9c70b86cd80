// The scan with AMX: a tile instruction multiplies 16 keys x 32 components with 32 components x 16 rows.
//
// The high plane is a tile operand as it lies in memory, packed rows are the other ([pairs][16 rows][2]). Two by two tiles
// of scores are summed at once, stored in a buffer that stays in the first-level cache, and compared there.
#include <immintrin.h>

#include "server/index/scan_tiles.h"

namespace evoke::scan_internal {
namespace {

constexpr size_t kLanes = 16;
constexpr uint32_t kTileKeys = 16;
constexpr uint32_t kTileDim = 32;
constexpr size_t kTileBytes = 1024;  // of packed rows: 16 pairs x 16 rows x 2 bfloat16

uint32_t Chunks(uint32_t dim) { return (dim + kTileDim - 1) / kTileDim; }
size_t GroupBytes(uint32_t dim) { return Chunks(dim) * kTileBytes; }

// Beyond `dim` a tile of keys reads on, into numbers of nobody's; the packed rows have zeros there.
void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  PackHalves<kLanes>(rows, count, dim, Chunks(dim) * kTileDim / 2, group);
}

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

ScanHit* Report(const float* scores, const float* thresholds, uint32_t keys, uint32_t first_key, uint32_t first_row,
                ScanHit* hits) {
  const __m512 limit = _mm512_loadu_ps(thresholds);
  for (uint32_t k = 0; k < keys; ++k) {
    uint32_t reached = _mm512_cmp_ps_mask(_mm512_load_ps(scores + k * kLanes), limit, _CMP_GE_OQ);
    for (; reached != 0; reached &= reached - 1) {
      const uint32_t l = static_cast<uint32_t>(__builtin_ctz(reached));
      *hits++ = {first_key + k, first_row + l, scores[k * kLanes + l]};
    }
  }
  return hits;
}

uint32_t AtMost(uint32_t a, uint32_t b) { return a < b ? a : b; }

size_t Scan(const ScanKeys& keys, const void* packed, size_t groups, const float* thresholds, ScanHit* hits) {
  TileConfig config;
  for (int t = 0; t < 6; ++t) config.rows[t] = static_cast<uint8_t>(AtMost(kTileKeys, keys.count));  // scores, keys
  _tile_loadconfig(&config);
  alignas(64) float scores[4][kTileKeys * kLanes];
  ScanHit* end = hits;
  const size_t key_bytes = keys.stride * sizeof(uint16_t);
  const uint32_t chunks = Chunks(keys.dim);
  for (size_t g = 0; g < groups; g += 2) {
    const char* rows0 = static_cast<const char*>(packed) + g * GroupBytes(keys.dim);
    const bool two = g + 1 < groups;
    const char* rows1 = two ? rows0 + GroupBytes(keys.dim) : rows0;
    for (uint32_t at = 0; at < keys.count; at += 2 * kTileKeys) {
      // Where fewer than 16 keys are left they are taken from before, and what is scored twice is dropped.
      const uint32_t first0 = keys.count < kTileKeys ? 0 : AtMost(at, keys.count - kTileKeys);
      const uint32_t first1 = keys.count < kTileKeys ? 0 : AtMost(at + kTileKeys, keys.count - kTileKeys);
      const uint16_t* high0 = keys.high + first0 * keys.stride;
      const uint16_t* high1 = keys.high + first1 * keys.stride;
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (uint32_t c = 0; c < chunks; ++c) {
        _tile_loadd(4, high0 + c * kTileDim, key_bytes);
        _tile_loadd(6, rows0 + c * kTileBytes, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, rows1 + c * kTileBytes, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, high1 + c * kTileDim, key_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, scores[0], 64);
      _tile_stored(1, scores[1], 64);
      _tile_stored(2, scores[2], 64);
      _tile_stored(3, scores[3], 64);
      for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t wanted = at + half * kTileKeys;
        if (wanted >= keys.count) break;
        const uint32_t skip = wanted - (half == 0 ? first0 : first1);
        const uint32_t count = AtMost(kTileKeys, keys.count - wanted);
        for (uint32_t r = 0; r < (two ? 2u : 1u); ++r) {
          end = Report(scores[2 * half + r] + skip * kLanes, thresholds + (g + r) * kLanes, count, wanted,
                       static_cast<uint32_t>((g + r) * kLanes), end);
        }
      }
    }
  }
  _tile_release();
  return static_cast<size_t>(end - hits);
}

}  // namespace

constinit const ScanKernels kAmxBf16 = {
    ScanPath::kAmxBf16, kLanes, Rounding::kBfloat16, Rounding::kBfloat16, GroupBytes, Pack, Scan,
};

}  // namespace evoke::scan_internal
