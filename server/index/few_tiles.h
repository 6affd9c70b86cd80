// The loops of the certified scan's kernels for a handful of rows, where a lane a row would leave most lanes idle.
//
// Lanes are components: a tile is one row against as many keys as a register has lanes, and their accumulators are summed
// together at the end. All rows pass over a tile's keys before the next ones are loaded. (Zen 4, dimension 128: about 7
// cycles a key and row, where a lane a row takes 64 a key for up to 16 rows.)
//
// `Isa` as for scan_tiles.h.
//   kKeys, kChunkDim, kChunkBytes       keys of a tile; components of one step, and their size when packed
//   Vector, Rows, Key                   registers: partial sums, a packed chunk of a row, a chunk of a key
//   Zero(), LoadRows(p), LoadKey(p), Add(acc, rows, key), Sum(acc[kKeys]) -> scores, Reach(scores, threshold), Store(p, v)
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/index/scan_kernels.h"

namespace evoke::scan_internal {

template <class Isa>
struct FewTiles {
  static size_t GroupBytes(uint32_t dim) { return Chunks(dim) * size_t{Isa::kChunkBytes}; }

  static size_t Scan(const ScanKeys& keys, const void* packed, size_t rows, const float* thresholds, ScanHit* hits) {
    ScanHit* end = hits;
    const uint16_t* key[Isa::kKeys];
    const size_t tile_bytes = Isa::kKeys * keys.stride * sizeof(uint16_t);
    const size_t ahead = tile_bytes > kAheadBytes ? tile_bytes : kAheadBytes;
    for (uint32_t at = 0; at < keys.count; at += Isa::kKeys) {
      const uint32_t left = keys.count - at;
      for (uint32_t k = 0; k < Isa::kKeys; ++k) key[k] = keys.high + (at + (k < left ? k : left - 1)) * keys.stride;
      const uint32_t wanted = left < Isa::kKeys ? (1u << left) - 1 : ~0u;
      for (size_t r = 0; r < rows; ++r) {
        const char* row = static_cast<const char*>(packed) + r * GroupBytes(keys.dim);
        const uint32_t chunks = Chunks(keys.dim);
        const auto number = static_cast<uint32_t>(r);
        end = r == 0 ? Tile<true>(key, at, wanted, chunks, row, ahead, thresholds[r], number, end)
                     : Tile<false>(key, at, wanted, chunks, row, ahead, thresholds[r], number, end);
      }
    }
    return static_cast<size_t>(end - hits);
  }

 private:
  static uint32_t Chunks(uint32_t dim) { return (dim + Isa::kChunkDim - 1) / Isa::kChunkDim; }

  static constexpr uint32_t kTogether = 4;
  // Every load calls for what is a tile later, or so far where tiles are short.
  static constexpr size_t kAheadBytes = 4096;

  // The row that meets the keys first takes them as they lie in memory, which is fastest in its order. Parts of the row come
  // from the first-level cache.
  static inline void AddFromMemory(const uint16_t* const* key, uint32_t chunks, const char* row, size_t ahead,
                                   typename Isa::Vector (&acc)[Isa::kKeys]) {
#pragma GCC unroll 16
    for (uint32_t k = 0; k < Isa::kKeys; ++k) {
      const uint16_t* chunk = key[k];
      const char* packed = row;
#pragma GCC unroll 4
      for (uint32_t c = 0; c < chunks; ++c, chunk += Isa::kChunkDim, packed += Isa::kChunkBytes) {
        __builtin_prefetch(reinterpret_cast<const char*>(chunk) + ahead, 0, 2);
        acc[k] = Isa::Add(acc[k], Isa::LoadRows(packed), Isa::LoadKey(chunk));
      }
    }
  }

  // Later rows load a part of theirs once for all keys, which are in cache.
  template <uint32_t kCount>
  static inline void AddFromCache(const uint16_t* const* key, uint32_t first, const char* row,
                                  typename Isa::Vector (&acc)[Isa::kKeys]) {
    typename Isa::Rows packed[kCount];
#pragma GCC unroll 4
    for (uint32_t c = 0; c < kCount; ++c) packed[c] = Isa::LoadRows(row + (first + c) * size_t{Isa::kChunkBytes});
#pragma GCC unroll 16
    for (uint32_t k = 0; k < Isa::kKeys; ++k) {
#pragma GCC unroll 4
      for (uint32_t c = 0; c < kCount; ++c) {
        acc[k] = Isa::Add(acc[k], packed[c], Isa::LoadKey(key[k] + (first + c) * Isa::kChunkDim));
      }
    }
  }

  template <bool kFirst>
  static inline ScanHit* Tile(const uint16_t* const* key, uint32_t first_key, uint32_t wanted, uint32_t chunks,
                              const char* row, size_t ahead, float threshold, uint32_t row_number, ScanHit* hits) {
    typename Isa::Vector acc[Isa::kKeys];
#pragma GCC unroll 16
    for (uint32_t k = 0; k < Isa::kKeys; ++k) acc[k] = Isa::Zero();
    if constexpr (kFirst) {
      AddFromMemory(key, chunks, row, ahead, acc);
    } else {
      uint32_t c = 0;
      for (; c + kTogether <= chunks; c += kTogether) AddFromCache<kTogether>(key, c, row, acc);
      for (; c < chunks; ++c) AddFromCache<1>(key, c, row, acc);
    }
    const typename Isa::Vector scores = Isa::Sum(acc);
    uint32_t reached = Isa::Reach(scores, threshold) & wanted;
    if (__builtin_expect(reached == 0, 1)) return hits;
    alignas(64) float score[Isa::kKeys];
    Isa::Store(score, scores);
    for (; reached != 0; reached &= reached - 1) {
      const uint32_t k = static_cast<uint32_t>(__builtin_ctz(reached));
      *hits++ = {first_key + k, row_number, score[k]};
    }
    return hits;
  }
};

// One row of bfloat16, with zeros up to whole chunks.
inline void PackRowHalves(const float* row, size_t count, uint32_t dim, uint32_t padded, void* group) {
  uint16_t* out = static_cast<uint16_t*>(group);
  for (uint32_t e = 0; e < padded; ++e) {
    uint32_t bits = 0;
    if (count > 0 && e < dim) __builtin_memcpy(&bits, row + e, sizeof(bits));
    out[e] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
  }
}

// One row of float32: a chunk's even components, then its odd ones, as the halves of a key's 32-bit words are.
template <uint32_t kChunkDim>
inline void PackRowFloats(const float* row, size_t count, uint32_t dim, uint32_t padded, void* group) {
  float* out = static_cast<float*>(group);
  for (uint32_t e = 0; e < padded; ++e) {
    const uint32_t chunk = e / kChunkDim * kChunkDim;
    const uint32_t within = e % kChunkDim;
    out[chunk + within % 2 * (kChunkDim / 2) + within / 2] = count > 0 && e < dim ? row[e] : 0.0f;
  }
}

}  // namespace evoke::scan_internal
