// The loops around a register tile, written once for the instruction-set paths.
//
// A tile is as many similarities as the registers hold at once. Summing the 16 accumulators of one similarity
// takes 15 additions and twice as many shuffles; a tile sums all of its own together, transposing on the way.
// That, and using each loaded vector several times, makes a scan fast while its keys are in cache.
// Prefetching does the rest: short runs of keys, called for into the second-level cache well ahead. (Measured
// on Zen 4, 524,288 x 128, one thread: 1 query 25 -> 11 ms, 64 queries 105 -> 86 ms, a scattered row 45 -> 23
// ns. Into the first-level cache it gains nothing: too few lines can be on their way there.)
//
// `Isa` supplies the tiles. It must live in an anonymous namespace: then these templates have internal
// linkage (see kernels.h). For the same reason nothing of the standard library is used here.
//   kQueries, kKeys          the shape of Tile
//   Tile(q, k, dim, out)     out[i * kKeys + j] = similarity of q[i] and k[j]
//   Row(query, k, dim, out)  out[j] = similarity of query and k[j], j < 8; k are float* or SplitVector
#pragma once

#include <cstddef>

#include "server/similarity/kernels.h"

namespace evoke::similarity_internal {

template <class Isa>
struct TileLoops {
  static void Many(const float* query, const float* keys, size_t stride, size_t rows, int dim, float* out) {
    Rows(query, rows, dim, out, [=](size_t i) { return keys + i * stride; });
  }

  static void Gather(const float* query, const float* const* rows, size_t count, int dim, float* out) {
    Rows(query, count, dim, out, [=](size_t i) { return rows[i]; });
  }

  static void GatherSplit(const float* query, const SplitVector* rows, size_t count, int dim, float* out) {
    Rows(query, count, dim, out, [=](size_t i) { return rows[i]; });
  }

  // All queries pass over a run of keys, which stays in the first-level cache, before the next run's turn.
  // Each strip of queries calls for its share of a later run, so that the calls are spread out.
  static void Block(const float* queries, size_t query_stride, size_t query_count, const float* keys,
                    size_t key_stride, size_t key_count, int dim, float* scores, size_t ld) {
    if (query_count == 1) {
      Many(queries, keys, key_stride, key_count, dim, scores);
      return;
    }
    // Few queries are limited by memory and want the shortest runs, many by what a run costs to begin.
    const size_t run_bytes = query_count < 8 ? 2048 : 4096;
    const size_t row_bytes = sizeof(float) * static_cast<size_t>(dim);
    const size_t run = AtLeastOne(run_bytes / row_bytes / Isa::kKeys) * Isa::kKeys;
    const size_t distance = AtLeastOne(kAheadBytes / row_bytes / run) * run;
    const size_t strips = (query_count + Isa::kQueries - 1) / Isa::kQueries;
    const size_t share = (run + strips - 1) / strips;
    for (size_t k = 0; k < key_count; k += run) {
      const size_t rows = key_count - k < run ? key_count - k : run;
      size_t ahead = k + distance;
      for (size_t q = 0; q < query_count; q += Isa::kQueries) {
        const size_t end = ahead + share < key_count ? ahead + share : key_count;
        for (; ahead < end; ++ahead) Prefetch(keys + ahead * key_stride, dim);
        const size_t count = query_count - q < Isa::kQueries ? query_count - q : Isa::kQueries;
        Strip(queries + q * query_stride, query_stride, count, keys + k * key_stride, key_stride, rows, dim,
              scores + q * ld + k, ld);
      }
    }
  }

 private:
  static constexpr size_t kRow = 8;
  static constexpr size_t kAheadBytes = 8192;

  static size_t AtLeastOne(size_t n) { return n == 0 ? 1 : n; }

  static void Prefetch(const float* row, int dim) {
    constexpr int kLineFloats = 16;
    for (int e = 0; e < dim; e += kLineFloats) __builtin_prefetch(row + e, 0, 2);
  }
  static void Prefetch(SplitVector row, int dim) {
    constexpr int kLineHalves = 32;
    for (int e = 0; e < dim; e += kLineHalves) {
      __builtin_prefetch(row.high + e, 0, 2);
      __builtin_prefetch(row.low + e, 0, 2);
    }
  }

  // `at(i)` is the address of row i. The last tile repeats its last row where rows are missing.
  template <class RowAt>
  static void Rows(const float* query, size_t rows, int dim, float* out, RowAt at) {
    decltype(at(0)) row[kRow];
    for (size_t i = 0; i < rows; i += kRow) {
      const size_t count = rows - i < kRow ? rows - i : kRow;
      for (size_t j = 0; j < kRow; ++j) {
        row[j] = at(i + (j < count ? j : count - 1));
        if (i + kRow + j < rows) Prefetch(at(i + kRow + j), dim);
      }
      if (count == kRow) {
        Isa::Row(query, row, dim, out + i);
      } else {
        float tile[kRow];
        Isa::Row(query, row, dim, tile);
        for (size_t j = 0; j < count; ++j) out[i + j] = tile[j];
      }
    }
  }

  // At most kQueries queries against one run of keys; missing ones are repeated, their scores dropped.
  static void Strip(const float* queries, size_t query_stride, size_t query_count, const float* keys,
                    size_t key_stride, size_t key_count, int dim, float* scores, size_t ld) {
    const float* q[Isa::kQueries];
    const float* k[Isa::kKeys];
    float tile[Isa::kQueries * Isa::kKeys];
    for (size_t i = 0; i < Isa::kQueries; ++i) {
      q[i] = queries + (i < query_count ? i : query_count - 1) * query_stride;
    }
    for (size_t at = 0; at < key_count; at += Isa::kKeys) {
      const size_t count = key_count - at < Isa::kKeys ? key_count - at : Isa::kKeys;
      for (size_t j = 0; j < Isa::kKeys; ++j) k[j] = keys + (at + (j < count ? j : count - 1)) * key_stride;
      Isa::Tile(q, k, dim, tile);
      for (size_t i = 0; i < query_count; ++i) {
        float* out = scores + i * ld + at;
        if (count == Isa::kKeys) {
          __builtin_memcpy(out, tile + i * Isa::kKeys, sizeof(float) * Isa::kKeys);
        } else {
          for (size_t j = 0; j < count; ++j) out[j] = tile[i * Isa::kKeys + j];
        }
      }
    }
  }
};

}  // namespace evoke::similarity_internal
