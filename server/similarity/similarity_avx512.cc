// The canonical sum with AVX-512F: one register holds the 16 accumulators of one similarity.
//
// Lane l of a register is accumulator l, so a vector fma is the definition's step for 16 elements at once,
// and a masked load supplies the zeros of a missing tail (masked elements are never read).
#include <immintrin.h>

#include "server/similarity/kernels.h"
#include "server/similarity/reduce_avx512.h"
#include "server/similarity/tile_loops.h"

namespace evoke::similarity_internal {
namespace {

constexpr int kLanes = 16;

// The same for 8: after the last level block i holds similarities 2 i and 2 i + 1, twice.
inline __m256 Reduce8(const __m512 (&acc)[8]) {
  const __m512 g0 = Quarter(acc[0], acc[2], acc[4], acc[6]);
  const __m512 g1 = Quarter(acc[1], acc[3], acc[5], acc[7]);
  const __m512 pairs = Level2(g0, g1);
  const __m512i pick = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps256(_mm512_permutexvar_ps(pick, Level1(pairs, pairs)));
}

inline __mmask16 TailMask(int missing_from) {
  return static_cast<__mmask16>((1u << missing_from) - 1u);
}

inline __m512 Load(const float* row, int e) { return _mm512_loadu_ps(row + e); }
inline __m512 LoadTail(const float* row, int e, int dim) {
  return _mm512_maskz_loadu_ps(TailMask(dim - e), row + e);
}

// (high << 16) + low, lane by lane; see split_vector.h.
inline __m512 Join16(const uint16_t* high, const int16_t* low) {
  const __m512i h = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)));
  const __m512i l = _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(h, 16), l));
}
inline __m512 Load(SplitVector row, int e) { return Join16(row.high + e, row.low + e); }
inline __m512 LoadTail(SplitVector row, int e, int dim) {
  uint16_t high[kLanes] = {};
  int16_t low[kLanes] = {};
  for (int i = 0; i < dim - e; ++i) {
    high[i] = row.high[e + i];
    low[i] = row.low[e + i];
  }
  return Join16(high, low);
}

struct Avx512 {
  // 16 accumulators, 4 queries and 4 keys: 24 of 32 registers, 8 loads for 16 multiplications.
  static constexpr size_t kQueries = 4;
  static constexpr size_t kKeys = 4;

  static float Similarity(const float* a, const float* b, int dim) {
    __m512 acc = _mm512_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      acc = _mm512_fmadd_ps(_mm512_loadu_ps(a + e), _mm512_loadu_ps(b + e), acc);
    }
    if (e < dim) {
      const __mmask16 in = TailMask(dim - e);
      acc = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, a + e), _mm512_maskz_loadu_ps(in, b + e), acc);
    }
    const __m512 quarter = Level4(Level8(acc, acc), Level8(acc, acc));
    const __m512 half = Level2(quarter, quarter);
    return _mm512_cvtss_f32(Level1(half, half));
  }

  static void Tile(const float* const* q, const float* const* k, int dim, float* out) {
    __m512 acc[16];
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) acc[n] = _mm512_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      const __m512 key[4] = {_mm512_loadu_ps(k[0] + e), _mm512_loadu_ps(k[1] + e), _mm512_loadu_ps(k[2] + e),
                             _mm512_loadu_ps(k[3] + e)};
#pragma GCC unroll 16
      for (int n = 0; n < 16; ++n) {
        acc[n] = _mm512_fmadd_ps(_mm512_loadu_ps(q[n / 4] + e), key[n % 4], acc[n]);
      }
    }
    if (e < dim) {
      const __mmask16 in = TailMask(dim - e);
#pragma GCC unroll 16
      for (int n = 0; n < 16; ++n) {
        acc[n] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, q[n / 4] + e),
                                 _mm512_maskz_loadu_ps(in, k[n % 4] + e), acc[n]);
      }
    }
    _mm512_storeu_ps(out, Reduce16(acc));
  }

  // Eight chains are what the latency of an fma needs on a machine that starts two in a cycle.
  template <class Key>
  static void Row(const float* query, const Key* k, int dim, float* out) {
    __m512 acc[8];
#pragma GCC unroll 8
    for (int n = 0; n < 8; ++n) acc[n] = _mm512_setzero_ps();
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) {
      const __m512 x = _mm512_loadu_ps(query + e);
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        acc[n] = _mm512_fmadd_ps(x, Load(k[n], e), acc[n]);
      }
    }
    if (e < dim) {
      const __m512 x = LoadTail(query, e, dim);
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        acc[n] = _mm512_fmadd_ps(x, LoadTail(k[n], e, dim), acc[n]);
      }
    }
    _mm256_storeu_ps(out, Reduce8(acc));
  }

  static void Join(SplitVector row, int dim, float* out) {
    int e = 0;
    for (; e + kLanes <= dim; e += kLanes) _mm512_storeu_ps(out + e, Load(row, e));
    if (e < dim) _mm512_mask_storeu_ps(out + e, TailMask(dim - e), LoadTail(row, e, dim));
  }
};

using Loops = TileLoops<Avx512>;

}  // namespace

constinit const SimilarityKernels kAvx512Kernels = {
    SimdPath::kAvx512, Avx512::Similarity, Loops::Many,  Loops::Block,
    Loops::Gather,     Loops::GatherSplit, Avx512::Join,
};

}  // namespace evoke::similarity_internal
