// Random numbers that are a function of their place: the same everywhere, and none has to be drawn to get the
// next.
#pragma once

#include <cstdint>
#include <limits>

namespace evoke::load {

// SplitMix64's finaliser: every bit of the result depends on every bit of `x`.
constexpr uint64_t Mixed(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// SplitMix64, with its state chosen by up to three numbers. A UniformRandomBitGenerator. A value; 8 bytes.
class RandomBits {
 public:
  using result_type = uint64_t;
  explicit constexpr RandomBits(uint64_t seed, uint64_t stream = 0, uint64_t number = 0)
      : state_(Mixed(Mixed(Mixed(seed + kStep) ^ stream) + kStep * (number + 1))) {}

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
  constexpr uint64_t operator()() { return Mixed(state_ += kStep); }
  // In [0, 1).
  constexpr double Uniform() { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15u;
  uint64_t state_;
};

}  // namespace evoke::load
