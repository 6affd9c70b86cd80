#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>

namespace evoke::fuzz {
namespace {

// Not std::uniform_int_distribution: its numbers differ from library to library.
size_t Below(size_t n, std::mt19937_64* random) { return (*random)() % n; }

// Where comparisons turn, as bytes.
constexpr std::array<unsigned char, 8> kTelling = {0x00, 0x01, 0x7f, 0x80, 0xff, '"', '-', '9'};

void MutateOnce(std::string* bytes, std::mt19937_64* random) {
  const size_t at = Below(bytes->size() + 1, random);
  const size_t length = std::min(bytes->size() - at, 1 + Below(8, random));
  switch (Below(5, random)) {
    case 0:
      if (at < bytes->size()) (*bytes)[at] ^= static_cast<char>(1 << Below(8, random));
      break;
    case 1:
      if (at < bytes->size()) (*bytes)[at] = static_cast<char>(kTelling[Below(kTelling.size(), random)]);
      break;
    case 2:
      bytes->insert(at, 1 + Below(8, random), static_cast<char>((*random)()));
      break;
    case 3:
      bytes->erase(at, length);
      break;
    default:
      bytes->insert(Below(bytes->size() + 1, random), bytes->substr(at, length));
  }
}

}  // namespace

std::string Mutate(std::string bytes, size_t max_size, std::mt19937_64* random) {
  for (size_t times = 1 + Below(4, random); times > 0; --times) MutateOnce(&bytes, random);
  bytes.resize(std::min(bytes.size(), max_size));
  return bytes;
}

}  // namespace evoke::fuzz
