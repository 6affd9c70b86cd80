#include "evoke/id128.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace evoke::client {

Id128 Id128::Random() {
  // random_device asks the kernel each time, so a forked child cannot repeat its parent's sequence.
  std::random_device source;
  Id128 id;
  for (size_t i = 0; i < id.bytes.size(); i += sizeof(uint32_t)) {
    const uint32_t word = source();
    std::memcpy(&id.bytes[i], &word, sizeof(word));
  }
  return id;
}

absl::StatusOr<Id128> Id128::FromHex(absl::string_view hex) {
  if (hex.size() != 32 || !std::all_of(hex.begin(), hex.end(), absl::ascii_isxdigit)) {
    return absl::InvalidArgumentError(absl::StrCat("an id is 32 hexadecimal digits, got \"", hex, "\""));
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

Id128 Id128::FromBytes(absl::string_view raw) {
  Id128 id;
  if (raw.size() == id.bytes.size()) std::memcpy(id.bytes.data(), raw.data(), raw.size());
  return id;
}

std::string Id128::ToHex() const {
  return absl::BytesToHexString(ToBytes());
}

}  // namespace evoke::client
