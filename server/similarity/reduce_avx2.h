// Sums of the lanes of 8 registers at once, in the canonical tree (similarity.h). For sources compiled with AVX2.
#pragma once

#include <immintrin.h>

namespace evoke {
namespace {  // internal linkage: see kernels.h

// See reduce_avx512.h. Level8 is the addition of the two halves.
inline __m256 Level4(__m256 x, __m256 y) {  // lanes l and l + 4: 128-bit blocks
  return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}
inline __m256 Level2(__m256 x, __m256 y) {  // lanes l and l + 2, inside each block
  return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xEE));
}
inline __m256 Level1(__m256 x, __m256 y) {  // lanes l and l + 1
  return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x88), _mm256_shuffle_ps(x, y, 0xDD));
}

// Lane n of the result is the rest of the tree over acc[n].
inline __m256 Reduce8(const __m256 (&acc)[8]) {
  const __m256 g0 = Level4(acc[0], acc[4]);
  const __m256 g1 = Level4(acc[1], acc[5]);
  const __m256 g2 = Level4(acc[2], acc[6]);
  const __m256 g3 = Level4(acc[3], acc[7]);
  return Level1(Level2(g0, g1), Level2(g2, g3));
}

}  // namespace
}  // namespace evoke
