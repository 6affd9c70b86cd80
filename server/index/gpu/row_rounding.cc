#include "server/index/gpu/row_rounding.h"

#include <bit>
#include <cmath>
#include <numeric>

namespace evoke::gpu {

// As KeyRounding (server/index/key_rounding.cc), which has the argument for float32, without what only the CPU's scans need:
// it is done for every row while the device waits.
RowRounding RoundingOf(const float* row, const uint16_t* high, uint32_t dim) {
  constexpr uint32_t kLanes = 16;  // so that the compiler makes vectors of it
  float squares[kLanes] = {};
  float lost[kLanes] = {};
  const auto add = [&](uint32_t e, uint32_t lane) {
    const float x = row[e];
    const float less = x - std::bit_cast<float>(uint32_t{high[e]} << 16);  // exact
    squares[lane] += x * x;
    lost[lane] += less * less;
  };
  uint32_t e = 0;
  for (; e + kLanes <= dim; e += kLanes) {
    for (uint32_t l = 0; l < kLanes; ++l) add(e + l, l);
  }
  for (; e < dim; ++e) add(e, e % kLanes);
  const double outward = 1 + (dim + 64) * 0x1p-25;
  const auto norm = [&](const float(&sums)[kLanes]) {
    return std::sqrt(std::accumulate(sums, sums + kLanes, 0.0)) * outward + 0x1p-68;
  };
  return {.norm = norm(squares), .lost = norm(lost)};
}

}  // namespace evoke::gpu
