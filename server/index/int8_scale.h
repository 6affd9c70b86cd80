// The rounding of a vector to 8 bits: component x becomes the whole number nearest to x * inverse (ties to even), which
// stands for that number times `scale`. Kernels and the bounds on what they lose (KeyRounding) share these lines, so that
// both round alike: one multiplication in float32, one rounding.
#pragma once

namespace evoke {
namespace {  // internal linkage: see scan_kernels.h

struct Int8Scale {
  float scale;
  float inverse;
};

// `largest`: the largest absolute component. Vectors too small for the inverse to be finite become zeros.
inline Int8Scale ScaleOf(float largest) {
  constexpr float kMost = 127.0f;
  constexpr float kLeast = 0x1p-100f;
  if (!(largest >= kLeast)) return {0.0f, 0.0f};
  return {largest / kMost, kMost / largest};
}

}  // namespace
}  // namespace evoke
