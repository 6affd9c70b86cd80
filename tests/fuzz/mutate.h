// Small damage to an input, for replays without libFuzzer: a function of the generator alone.
#pragma once

#include <cstddef>
#include <random>
#include <string>

namespace evoke::fuzz {

// Flips, overwrites, inserts, removes or repeats a few bytes. The result has at most `max_size` bytes.
std::string Mutate(std::string bytes, size_t max_size, std::mt19937_64* random);

}  // namespace evoke::fuzz
