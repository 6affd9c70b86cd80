#include "server/index/key_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/index/int8_scale.h"

namespace evoke {
namespace {

// Four components at a time: registers that every machine has.
constexpr uint32_t kLanes = 4;
using Floats = float __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(16)));
using High = uint16_t __attribute__((vector_size(8)));
using Low = int16_t __attribute__((vector_size(8)));

// Components e and the following ones, as bits of the bfloat16 and of the number itself; zeros beyond dim.
inline void Load(SplitVector key, uint32_t e, uint32_t dim, Words* bfloat16, Words* number) {
  High high{};
  Low low{};
  const size_t bytes = std::min(kLanes, dim - e) * sizeof(uint16_t);
  if (bytes == sizeof(High)) {  // of a known size: two loads
    std::memcpy(&high, key.high + e, sizeof(High));
    std::memcpy(&low, key.low + e, sizeof(Low));
  } else {
    std::memcpy(&high, key.high + e, bytes);
    std::memcpy(&low, key.low + e, bytes);
  }
  *bfloat16 = __builtin_convertvector(high, Words) << 16;
  *number = *bfloat16 + __builtin_convertvector(low, Words);
}

double Sum(const Floats& squares) {
  double sum = 0;
  for (uint32_t l = 0; l < kLanes; ++l) sum += double{squares[l]};
  return sum;
}

}  // namespace

void KeyRounding::Cover(SplitVector key, uint32_t dim) {
  Words bfloat16, number;
  Floats largest{};
  for (uint32_t e = 0; e < dim; e += kLanes) {
    Load(key, e, dim, &bfloat16, &number);
    const auto x = reinterpret_cast<Floats>(bfloat16 & 0x7fffffffu);
    largest = x > largest ? x : largest;
  }
  float most = 0;
  for (uint32_t l = 0; l < kLanes; ++l) most = std::max(most, largest[l]);
  const Int8Scale scale = ScaleOf(most);

  Floats squares{}, of_bfloat16{}, of_int8{};
  for (uint32_t e = 0; e < dim; e += kLanes) {
    Load(key, e, dim, &bfloat16, &number);
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number, ties to even.
    constexpr float kWhole = 0x1.8p23f;
    const auto high = reinterpret_cast<Floats>(bfloat16);
    const auto x = reinterpret_cast<Floats>(number);
    const Floats less = x - high;  // exact: it is what the low plane says
    const Floats coarse = x - scale.scale * ((high * scale.inverse + kWhole) - kWhole);
    squares += x * x;
    of_bfloat16 += less * less;
    of_int8 += coarse * coarse;
  }

  // Upper bounds. A float32 square is rounded, and added to at most dim / 4 others, each sum rounded: less than
  // (dim + 32) 2^-24 of the sum, half of that of its root. What is subnormal loses at most 2^-149 a square, 2^-68 in the root
  // of 4,096. `coarse` is off by two roundings of numbers that are at most a step of the scale from x: 2^-22 of the norm.
  const double outward = 1 + (dim + 64) * 0x1p-25;
  const auto norm = [&](const Floats& sums) { return std::sqrt(Sum(sums)) * outward + 0x1p-68; };
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
