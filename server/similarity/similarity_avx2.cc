// The canonical sum with AVX2 and FMA: two registers hold the 16 accumulators of one similarity.
//
// Accumulators 0..7 and 8..15 never meet before the first level of the tree, so a tile makes two passes over
// the elements, one for each half. Then a tile of eight similarities needs eight registers and not sixteen,
// and what it loads is used more often.
#include <immintrin.h>

#include "server/similarity/kernels.h"
#include "server/similarity/reduce_avx2.h"
#include "server/similarity/tile_loops.h"

namespace evoke::similarity_internal {
namespace {

constexpr int kLanes = 16;
constexpr int kHalf = 8;

// All ones in the first `count` lanes; count <= 0 gives none, count >= 8 all.
inline __m256i TailMask(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline __m256 Load(const float* row, int e) { return _mm256_loadu_ps(row + e); }
inline __m256 LoadTail(const float* row, int e, int dim) {
  return _mm256_maskload_ps(row + e, TailMask(dim - e));
}

// (high << 16) + low, lane by lane; see split_vector.h.
inline __m256 Join8(const uint16_t* high, const int16_t* low) {
  const __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(high)));
  const __m256i l = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low)));
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(h, 16), l));
}
inline __m256 Load(SplitVector row, int e) { return Join8(row.high + e, row.low + e); }
inline __m256 LoadTail(SplitVector row, int e, int dim) {
  uint16_t high[kHalf] = {};
  int16_t low[kHalf] = {};
  for (int i = 0; i < kHalf && e + i < dim; ++i) {
    high[i] = row.high[e + i];
    low[i] = row.low[e + i];
  }
  return Join8(high, low);
}

struct Avx2 {
  static constexpr size_t kQueries = 2;
  static constexpr size_t kKeys = 4;

  static float Similarity(const float* a, const float* b, int dim) {
    __m256 low = _mm256_setzero_ps();
    __m256 high = _mm256_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      low = _mm256_fmadd_ps(_mm256_loadu_ps(a + e), _mm256_loadu_ps(b + e), low);
      high = _mm256_fmadd_ps(_mm256_loadu_ps(a + e + kHalf), _mm256_loadu_ps(b + e + kHalf), high);
    }
    if (e < dim) {
      const __m256i in_low = TailMask(dim - e);
      const __m256i in_high = TailMask(dim - e - kHalf);
      low = _mm256_fmadd_ps(_mm256_maskload_ps(a + e, in_low), _mm256_maskload_ps(b + e, in_low), low);
      high = _mm256_fmadd_ps(_mm256_maskload_ps(a + e + kHalf, in_high),
                             _mm256_maskload_ps(b + e + kHalf, in_high), high);
    }
    const __m256 eight = _mm256_add_ps(low, high);
    const __m256 four = Level4(eight, eight);
    const __m256 two = Level2(four, four);
    return _mm256_cvtss_f32(Level1(two, two));
  }

  static void Tile(const float* const* q, const float* const* k, int dim, float* out) {
    __m256 low[8];
    __m256 high[8];
    TileHalf(q, k, 0, dim, low);
    TileHalf(q, k, kHalf, dim, high);
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) low[n] = _mm256_add_ps(low[n], high[n]);
    _mm256_storeu_ps(out, Reduce8(low));
  }

  template <class Key>
  static void Row(const float* query, const Key* k, int dim, float* out) {
    __m256 low[8];
    __m256 high[8];
    RowHalf(query, k, 0, dim, low);
    RowHalf(query, k, kHalf, dim, high);
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) low[n] = _mm256_add_ps(low[n], high[n]);
    _mm256_storeu_ps(out, Reduce8(low));
  }

  static void Join(SplitVector row, int dim, float* out) {
    int e = 0;
    for (; e + kHalf <= dim; e += kHalf) _mm256_storeu_ps(out + e, Load(row, e));
    if (e < dim) _mm256_maskstore_ps(out + e, TailMask(dim - e), LoadTail(row, e, dim));
  }

 private:
  // acc[4 i + j]: accumulators half, .., half + 7 of the similarity of q[i] and k[j].
  static inline void TileHalf(const float* const* q, const float* const* k, int half, int dim,
                              __m256 (&acc)[8]) {
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) acc[n] = _mm256_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      const __m256 key[4] = {_mm256_loadu_ps(k[0] + e + half), _mm256_loadu_ps(k[1] + e + half),
                             _mm256_loadu_ps(k[2] + e + half), _mm256_loadu_ps(k[3] + e + half)};
      const __m256 query[2] = {_mm256_loadu_ps(q[0] + e + half), _mm256_loadu_ps(q[1] + e + half)};
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) acc[n] = _mm256_fmadd_ps(query[n / 4], key[n % 4], acc[n]);
    }
    if (e < dim) {
      const __m256i in = TailMask(dim - e - half);
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        acc[n] = _mm256_fmadd_ps(_mm256_maskload_ps(q[n / 4] + e + half, in),
                                 _mm256_maskload_ps(k[n % 4] + e + half, in), acc[n]);
      }
    }
  }

  // acc[j]: accumulators half, .., half + 7 of the similarity of query and k[j].
  template <class Key>
  static inline void RowHalf(const float* query, const Key* k, int half, int dim, __m256 (&acc)[8]) {
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) acc[n] = _mm256_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      const __m256 x = _mm256_loadu_ps(query + e + half);
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        acc[n] = _mm256_fmadd_ps(x, Load(k[n], e + half), acc[n]);
      }
    }
    if (e < dim) {
      const __m256 x = LoadTail(query, e + half, dim);
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        acc[n] = _mm256_fmadd_ps(x, LoadTail(k[n], e + half, dim), acc[n]);
      }
    }
  }
};

using Loops = TileLoops<Avx2>;

}  // namespace

constinit const SimilarityKernels kAvx2Kernels = {
    SimdPath::kAvx2, Avx2::Similarity,   Loops::Many, Loops::Block,
    Loops::Gather,   Loops::GatherSplit, Avx2::Join,
};

}  // namespace evoke::similarity_internal
