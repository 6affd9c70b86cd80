// How a key lies on a device: as it is, or in half the bytes.
//
// Pure, thread-safe.
#pragma once

#include <cstdint>

namespace evoke {

enum class KeyFormat { kFloat32, kFloat16 };

constexpr uint32_t ComponentBytes(KeyFormat format) { return format == KeyFormat::kFloat32 ? 4 : 2; }

// The nearest float16, ties to even; beyond its range infinite. Of what is not a number: not a number.
uint16_t ToFloat16(float x);
float FromFloat16(uint16_t half);

// out[dim * ComponentBytes]: the vector in that format, little-endian.
void Encode(KeyFormat format, const float* x, uint32_t dim, uint8_t* out);

// An upper bound of the vector's norm, and of its distance to what it is encoded as.
struct EncodingLoss {
  double norm = 0;
  double lost = 0;
};
EncodingLoss LossOf(KeyFormat format, const float* x, uint32_t dim);

}  // namespace evoke
