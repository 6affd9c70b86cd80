// Sums of the lanes of 16 registers at once, in the canonical tree (similarity.h). For sources compiled with AVX-512F.
#pragma once

#include <immintrin.h>

namespace evoke {
namespace {  // internal linkage: see kernels.h

// The four levels of the tree, each for two registers (or register pairs) at once: the low halves of x and y
// plus their high halves. A level halves the lanes of a similarity and doubles the similarities of a
// register.
inline __m512 Level8(__m512 x, __m512 y) {  // lanes l and l + 8: 256-bit halves
  return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xEE));
}
inline __m512 Level4(__m512 x, __m512 y) {  // lanes l and l + 4: neighboring 128-bit blocks
  return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xDD));
}
inline __m512 Level2(__m512 x, __m512 y) {  // lanes l and l + 2, inside each block
  return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xEE));
}
inline __m512 Level1(__m512 x, __m512 y) {  // lanes l and l + 1
  return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xDD));
}
// [a, b, c, d] by blocks, each block the four partial sums of one similarity.
inline __m512 Quarter(__m512 a, __m512 b, __m512 c, __m512 d) {
  return Level4(Level8(a, b), Level8(c, d));
}

// Lane n of the result is the tree over acc[n]. Block i, element j comes from group j's member i, so group j
// is j, j + 4, j + 8, j + 12.
inline __m512 Reduce16(const __m512 (&acc)[16]) {
  const __m512 g0 = Quarter(acc[0], acc[4], acc[8], acc[12]);
  const __m512 g1 = Quarter(acc[1], acc[5], acc[9], acc[13]);
  const __m512 g2 = Quarter(acc[2], acc[6], acc[10], acc[14]);
  const __m512 g3 = Quarter(acc[3], acc[7], acc[11], acc[15]);
  return Level1(Level2(g0, g1), Level2(g2, g3));
}

}  // namespace
}  // namespace evoke
