#include "server/index/key_rounding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "server/index/int8_scale.h"

namespace evoke {
namespace {

// body(e, lane) for each e below dim; written so that the compiler makes vectors of it.
template <uint32_t kLanes, typename Body>
void ForLanes(uint32_t dim, const Body& body) {
  uint32_t e = 0;
  for (; e + kLanes <= dim; e += kLanes) {
    for (uint32_t l = 0; l < kLanes; ++l) body(e + l, l);
  }
  for (; e < dim; ++e) body(e, 0);
}

}  // namespace

void KeyRounding::Cover(SplitVector key, uint32_t dim) {
  constexpr uint32_t kLanes = 16;
  const auto bfloat16 = [&](uint32_t e) { return std::bit_cast<float>(uint32_t{key.high[e]} << 16); };
  const auto component = [&](uint32_t e) {
    return std::bit_cast<float>((uint32_t{key.high[e]} << 16) + static_cast<uint32_t>(int32_t{key.low[e]}));
  };
  float largest[kLanes] = {};
  const auto see = [&](uint32_t e, uint32_t lane) {
    const float x = std::abs(bfloat16(e));
    largest[lane] = x > largest[lane] ? x : largest[lane];
  };
  ForLanes<kLanes>(dim, see);
  const Int8Scale scale = ScaleOf(*std::max_element(largest, largest + kLanes));

  float squares[kLanes] = {};
  float of_bfloat16[kLanes] = {};
  float of_int8[kLanes] = {};
  const auto add = [&](uint32_t e, uint32_t lane) {
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number, ties to even.
    constexpr float kWhole = 0x1.8p23f;
    const float high = bfloat16(e);
    const float whole = (high * scale.inverse + kWhole) - kWhole;
    const float x = component(e);
    const float less = x - high;  // exact: it is what the low plane says
    const float coarse = x - scale.scale * whole;
    squares[lane] += x * x;
    of_bfloat16[lane] += less * less;
    of_int8[lane] += coarse * coarse;
  };
  ForLanes<kLanes>(dim, add);

  // Upper bounds. A float32 square is rounded, and added to at most dim / 16 + 15 others, each sum rounded: less than
  // (dim + 32) 2^-24 of the sum, half of that of its root. What is subnormal loses at most 2^-149 a square, 2^-68 in the root
  // of 4,096. `coarse` is off by two roundings of numbers near x, one step of the scale at most
  // from it: 2^-22 of the norm.
  const double outward = 1 + (dim + 64) * 0x1p-25;
  const auto norm = [&](const float(&sums)[kLanes]) {
    return std::sqrt(std::accumulate(sums, sums + kLanes, 0.0)) * outward + 0x1p-68;
  };
  KeyRounding one;
  one.norm_ = norm(squares);
  one.bfloat16_ = norm(of_bfloat16);
  one.int8_ = norm(of_int8) + one.norm_ * 0x1p-22;
  Cover(one);
}

void KeyRounding::Cover(const KeyRounding& other) {  // not std::max: what is not a number must stay
  norm_ = other.norm_ <= norm_ ? norm_ : other.norm_;
  bfloat16_ = other.bfloat16_ <= bfloat16_ ? bfloat16_ : other.bfloat16_;
  int8_ = other.int8_ <= int8_ ? int8_ : other.int8_;
}

}  // namespace evoke
