// Vectors for the tests of this folder, from a seed that every failure shows.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <vector>

namespace evoke {

// A generator seeded from EVOKE_TEST_SEED if that is set, else at random; prints the seed.
inline std::mt19937_64 SeededGenerator() {
  const char* fixed = std::getenv("EVOKE_TEST_SEED");
  const uint64_t seed = fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
  std::cout << "EVOKE_TEST_SEED=" << seed << std::endl;
  return std::mt19937_64(seed);
}

enum class Kind {
  kNormal,     // standard normal components
  kUnit,       // the same, normalised in float64
  kWide,       // any finite exponent below 2^60, so that nothing overflows; some subnormal, some -0
  kVanishing,  // around 2^-74: products are subnormal or vanish, and leave -0 behind
  kHuge,       // around 2^50
};
inline constexpr Kind kAllKinds[] = {Kind::kNormal, Kind::kUnit, Kind::kWide, Kind::kVanishing, Kind::kHuge};

inline std::vector<float> RandomVector(std::mt19937_64& random, Kind kind, size_t dim) {
  std::normal_distribution<double> normal;
  std::vector<float> x(dim);
  double squares = 0;
  std::vector<double> wide(dim);
  for (double& component : wide) {
    component = normal(random);
    squares += component * component;
  }
  for (size_t e = 0; e < dim; ++e) {
    switch (kind) {
      case Kind::kNormal:
        x[e] = static_cast<float>(wide[e]);
        break;
      case Kind::kUnit:
        x[e] = static_cast<float>(wide[e] / std::sqrt(squares));
        break;
      case Kind::kWide: {
        const uint32_t exponent = static_cast<uint32_t>(random() % (127 + 60));
        const uint32_t rest = static_cast<uint32_t>(random()) & 0x807fffffu;
        x[e] = random() % 16 == 0 ? -0.0f : std::bit_cast<float>(rest | exponent << 23);
        break;
      }
      case Kind::kVanishing:
        x[e] = random() % 8 == 0 ? -0.0f : static_cast<float>(std::ldexp(wide[e], -74));
        break;
      case Kind::kHuge:
        x[e] = static_cast<float>(std::ldexp(wide[e], 50));
        break;
    }
  }
  return x;
}

}  // namespace evoke
