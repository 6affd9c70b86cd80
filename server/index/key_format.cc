#include "server/index/key_format.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace evoke {

uint16_t ToFloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  // 65520, halfway between the largest float16 and what would come next, rounds up: there is none.
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) {
    // Below 2^-14 a float16 is a whole multiple of 2^-24: adding 0.5, whose last place that is, rounds to it.
    const float multiple = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(multiple) - std::bit_cast<uint32_t>(0.5f)));
  }
  // Drops 13 bits, to nearest, ties to even, and takes 112 off the exponent; a carry goes into the exponent as it should.
  const uint32_t rounded = magnitude + 0x0fffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - (uint32_t{112} << 23)) >> 13));
}

float FromFloat16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t magnitude = half & 0x7fffu;
  if (magnitude < 0x0400u) {  // a multiple of 2^-24, exact in float32
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
  }
  const uint32_t exponent = magnitude >= 0x7c00u ? 224u : 112u;
  return std::bit_cast<float>(sign | ((magnitude << 13) + (exponent << 23)));
}

void Encode(KeyFormat format, const float* x, uint32_t dim, uint8_t* out) {
  if (format == KeyFormat::kFloat32) {
    std::memcpy(out, x, sizeof(float) * dim);
    return;
  }
  for (uint32_t e = 0; e < dim; ++e) {
    const uint16_t half = ToFloat16(x[e]);
    std::memcpy(out + sizeof half * e, &half, sizeof half);
  }
}

EncodingLoss LossOf(KeyFormat format, const float* x, uint32_t dim) {
  double squares = 0;
  double lost = 0;
  for (uint32_t e = 0; e < dim; ++e) {
    squares += double{x[e]} * double{x[e]};
    if (format == KeyFormat::kFloat32) continue;
    const double less = double{x[e]} - double{FromFloat16(ToFloat16(x[e]))};
    lost += less * less;
  }
  // float64 sums of up to 4,096 squares are off by less than 2^-40 of themselves.
  return {.norm = std::sqrt(squares) * (1 + 0x1p-40), .lost = std::sqrt(lost) * (1 + 0x1p-40)};
}

}  // namespace evoke
