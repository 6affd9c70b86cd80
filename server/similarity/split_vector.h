// float32 vectors in two planes of 16 bits: a bfloat16 of each component, and what that lacks.
//
//   high = (bits + 0x8000) >> 16        the nearest bfloat16, ties away from zero
//   low  = bits - (high << 16)          as a signed number of 16 bits
//
// Both are sums modulo 2^32 of the number's bits, so Join(Split(x)) has the bits of x, whatever x is. A scan that only
// proposes reads half the bytes, and nothing is stored twice. The bfloat16 of a finite number above 3.39e38 is
// infinite; keys of a memory are unit vectors. Pure, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/similarity/kernels.h"

namespace evoke {

// high[dim], low[dim] of x[dim].
void Split(const float* x, int dim, uint16_t* high, int16_t* low);

// out[dim]: the vector, to the bit.
void Join(SplitVector row, int dim, float* out);

// Rows of vectors in two planes, `stride` components apart in both.
struct SplitMatrixView {
  const uint16_t* high = nullptr;
  const int16_t* low = nullptr;
  size_t stride = 0;
  SplitVector row(size_t i) const { return {high + i * stride, low + i * stride}; }
};

}  // namespace evoke
