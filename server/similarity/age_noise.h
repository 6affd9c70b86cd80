// The random part of a slot's age when the oldest slot is chosen (semantics.md, section 5).
#pragma once

#include <xxhash.h>

#include <bit>
#include <cstdint>

namespace evoke {

// u_i: the high 32 bits of XXH3-64, seeded with the memory's `seed`, of the 16 bytes step | slot, each
// little-endian. `step` is the observation's own. A pure function: a replay draws the same numbers, and no
// generator has a state to keep.
inline uint32_t NoiseDraw(uint64_t seed, uint64_t step, uint64_t slot) {
  static_assert(std::endian::native == std::endian::little);
  const uint64_t message[2] = {step, slot};
  return static_cast<uint32_t>(XXH3_64bits_withSeed(message, sizeof(message), seed) >> 32);
}

}  // namespace evoke
