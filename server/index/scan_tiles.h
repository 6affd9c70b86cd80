// The loops of the certified scan's kernels, written once for the paths that have a lane a row.
//
// A tile is kGroups x keys scores in registers: each pair of key components is broadcast once for all groups, each packed
// pair of the groups is loaded once for all keys. A handful of groups stays in the first-level cache while a block of keys
// passes over it.
//
// `Isa` lives in an anonymous namespace, so that these templates have internal linkage; nothing of the standard library is
// used here (scan_kernels.h says why).
//   kLanes, kMaxGroups, Keys(groups)    the shape of the largest tile, and of smaller ones
//   kStep, kStepBytes, kHeaderBytes     components of one step, and their packed size; what lies before them in a group
//   Element, kScaled, Scale             of a key: its components; whether it has a scale, what its scores are times
//   Sums, Vector, Rows, Key             registers: sums, scores, a packed step, a broadcast step
//   Begin(header), LoadRows(p), LoadKey(p), Add(sums, rows, key), Finish(sums, header, scale) -> scores,
//   Reach(scores, thresholds) -> bit mask, Load(p), Store(p, scores)
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/index/scan_kernels.h"

namespace evoke::scan_internal {

template <class Isa>
struct ScanTiles {
  using Element = typename Isa::Element;
  using Scale = typename Isa::Scale;

  // Key i is at data + i * stride, its scale at scales + i.
  struct Keys {
    const Element* data;
    size_t stride;
    uint32_t count;
    uint32_t dim;
    const Scale* scales;
  };

  static uint32_t Steps(uint32_t dim) { return (dim + Isa::kStep - 1) / Isa::kStep; }
  static size_t GroupBytes(uint32_t dim) { return Isa::kHeaderBytes + Steps(dim) * size_t{Isa::kStepBytes}; }

  static size_t Scan(const ScanKeys& keys, const void* packed, size_t groups, const float* thresholds, ScanHit* hits) {
    const Scale one{};
    const Keys all{keys.high, keys.stride, keys.count, keys.dim, &one};
    return static_cast<size_t>(ScanBlock(all, packed, groups, thresholds, 0, hits) - hits);
  }

  // `first_key`: the number of the first key in what is reported.
  static ScanHit* ScanBlock(const Keys& keys, const void* packed, size_t groups, const float* thresholds,
                            uint32_t first_key, ScanHit* hits) {
    // The first groups meet keys that are not in cache yet: they call for the next block, or where there are no other
    // groups for what comes a little later.
    constexpr size_t kAheadBytes = 8192;
    const size_t ahead = groups > Isa::kMaxGroups ? keys.count * keys.stride * sizeof(Element) : kAheadBytes;
    for (size_t g = 0; g < groups; g += Isa::kMaxGroups) {
      const size_t count = groups - g < Isa::kMaxGroups ? groups - g : Isa::kMaxGroups;
      const char* rows = static_cast<const char*>(packed) + g * GroupBytes(keys.dim);
      hits = Strip<Isa::kMaxGroups>(count, keys, rows, thresholds + g * Isa::kLanes, first_key,
                                    static_cast<uint32_t>(g * Isa::kLanes), ahead, hits);
    }
    return hits;
  }

 private:
  template <size_t G>
  static ScanHit* Strip(size_t count, const Keys& keys, const char* rows, const float* thresholds, uint32_t first_key,
                        uint32_t first_row, size_t ahead, ScanHit* hits) {
    if constexpr (G > 1) {
      if (count < G) return Strip<G - 1>(count, keys, rows, thresholds, first_key, first_row, ahead, hits);
    }
    constexpr uint32_t kKeys = Isa::Keys(G);
    const auto tile = [&](uint32_t at, uint32_t known, uint32_t end, size_t stride) {
      const Element* base = keys.data + at * keys.stride;
      const Scale* scales = keys.scales + (Isa::kScaled ? at : 0);
      hits = first_row == 0 && !Isa::kScaled
                 ? Tile<G, true>(base, stride, scales, first_key + at, known, end, keys.dim, rows, thresholds, first_row, ahead, hits)
                 : Tile<G, false>(base, stride, scales, first_key + at, known, end, keys.dim, rows, thresholds, first_row, ahead, hits);
    };
    uint32_t at = 0;
    for (; at + kKeys <= keys.count; at += kKeys) tile(at, 0, kKeys, keys.stride);
    const uint32_t left = keys.count - at;
    if (left > 0 && at > 0) {
      tile(keys.count - kKeys, kKeys - left, kKeys, keys.stride);  // some keys again, and not reported again
    } else {
      for (uint32_t k = 0; k < left; ++k) tile(k, 0, 1, 0);  // one key, as often as a tile has keys
    }
    return hits;
  }

  // kCall: calls for as many bytes of keys as it reads, spread over its steps, from `ahead` bytes later; so they are in the
  // second-level cache when their turn comes. (Beyond the matrix a prefetch does nothing.)
  // Of the keys base + k * stride, those from `known` to `end` are reported.
  template <size_t G, bool kCall>
  static inline ScanHit* Tile(const Element* base, size_t stride, const Scale* scales, uint32_t first_key, uint32_t known,
                              uint32_t end, uint32_t dim, const char* rows, const float* thresholds, uint32_t first_row,
                              size_t ahead, ScanHit* hits) {
    constexpr uint32_t kKeys = Isa::Keys(G);
    constexpr size_t kLineBytes = 64;
    constexpr size_t kStepKeyBytes = Isa::kStep * sizeof(Element);
    const char* later = reinterpret_cast<const char*>(base) + ahead;
    // An address a key would not fit into the registers, and loading addresses would cost as much as loading keys.
    constexpr uint32_t kAddresses = (kKeys + 3) / 4;
    const Element* quad[kAddresses];
#pragma GCC unroll 8
    for (uint32_t q = 0; q < kAddresses; ++q) quad[q] = base + 4 * q * stride;
    const size_t three = 3 * stride;
    typename Isa::Sums acc[G * kKeys];
    const size_t group_bytes = GroupBytes(dim);
#pragma GCC unroll 64
    for (uint32_t n = 0; n < G * kKeys; ++n) acc[n] = Isa::Begin(rows + n % G * group_bytes);
    const uint32_t steps = Steps(dim);
    for (uint32_t s = 0; s < steps; ++s) {
      if constexpr (kCall) {
        for (size_t b = 0; b < kKeys * kStepKeyBytes; b += kLineBytes) {
          __builtin_prefetch(later + s * kKeys * kStepKeyBytes + b, 0, 2);
        }
      }
      typename Isa::Rows packed[G];
#pragma GCC unroll 8
      for (size_t g = 0; g < G; ++g) packed[g] = Isa::LoadRows(rows + g * group_bytes + Isa::kHeaderBytes + s * size_t{Isa::kStepBytes});
#pragma GCC unroll 8
      for (uint32_t q = 0; q < kAddresses; ++q) {
        const Element* at = quad[q];
        asm("" : "+r"(at));  // or the compiler makes an address a key of it after all
        quad[q] = at + Isa::kStep;
#pragma GCC unroll 4
        for (uint32_t n = 0; n < 4; ++n) {
          const uint32_t k = 4 * q + n;
          if (k >= kKeys) continue;
          const typename Isa::Key step = Isa::LoadKey(at + (n == 3 ? three : n * stride));
#pragma GCC unroll 8
          for (size_t g = 0; g < G; ++g) acc[k * G + g] = Isa::Add(acc[k * G + g], packed[g], step);
        }
      }
    }
#pragma GCC unroll 8
    for (size_t g = 0; g < G; ++g) {
      const typename Isa::Vector limit = Isa::Load(thresholds + g * Isa::kLanes);
#pragma GCC unroll 32
      for (uint32_t k = 0; k < kKeys; ++k) {
        if (Isa::kScaled && k >= end) break;
        const typename Isa::Vector scores = Isa::Finish(acc[k * G + g], rows + g * group_bytes, scales[Isa::kScaled ? k : 0]);
        const uint32_t reached = Isa::Reach(scores, limit);
        if (__builtin_expect(reached != 0, 0) && k >= known && k < end) {
          hits = Report(scores, reached, first_key + k, first_row + static_cast<uint32_t>(g * Isa::kLanes), hits);
        }
      }
    }
    return hits;
  }

  [[gnu::noinline]] static ScanHit* Report(typename Isa::Vector scores, uint32_t reached, uint32_t key, uint32_t first_row,
                                           ScanHit* hits) {
    alignas(64) float lane[Isa::kLanes];
    Isa::Store(lane, scores);
    for (; reached != 0; reached &= reached - 1) {
      const uint32_t l = static_cast<uint32_t>(__builtin_ctz(reached));
      *hits++ = {key, first_row + l, lane[l]};
    }
    return hits;
  }
};

// Packs rows of float32: [steps][even, odd][lanes][kStep / 2], with zeros beyond `dim` and `count`.
template <size_t kLanes, uint32_t kStep = 2>
inline void PackFloats(const float* rows, size_t count, uint32_t dim, void* group) {
  constexpr size_t kPairs = kStep / 2;
  float* out = static_cast<float*>(group);
  for (uint32_t e = 0; e < (dim + kStep - 1) / kStep * kStep; ++e) {
    float* half = out + (e / kStep * 2 + e % 2) * kLanes * kPairs;
    for (size_t l = 0; l < kLanes; ++l) {
      half[l * kPairs + e % kStep / 2] = l < count && e < dim ? rows[l * dim + e] : 0.0f;
    }
  }
}

// Packs rows of bfloat16: [steps][lanes][kStep], with zeros beyond `dim` and `count`.
template <size_t kLanes, uint32_t kStep = 2>
inline void PackHalves(const float* rows, size_t count, uint32_t dim, uint32_t steps, void* group) {
  uint16_t* out = static_cast<uint16_t*>(group);
  for (uint32_t e = 0; e < kStep * steps; ++e) {
    for (size_t l = 0; l < kLanes; ++l) {
      uint32_t bits = 0;
      if (l < count && e < dim) __builtin_memcpy(&bits, rows + l * dim + e, sizeof(bits));
      out[(e / kStep * kLanes + l) * kStep + e % kStep] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    }
  }
}

}  // namespace evoke::scan_internal
