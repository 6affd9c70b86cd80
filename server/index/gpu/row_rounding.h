// What the rounding of a row to bfloat16 loses, for the bound of its scores. Pure.
#pragma once

#include <cstdint>

namespace evoke::gpu {

// Upper bounds of a vector's norm, and of its distance to its bfloat16s `high`; infinite from norms of 1.8e19 on.
struct RowRounding {
  double norm = 0;
  double lost = 0;
};
RowRounding RoundingOf(const float* row, const uint16_t* high, uint32_t dim);

}  // namespace evoke::gpu
