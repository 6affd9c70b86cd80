// A 128-bit identity: of a memory, a session or a run of the server.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evoke::client {

// 16 raw bytes. All zeros stands for "none". A value; compares and hashes bytewise.
struct Id128 {
  std::array<uint8_t, 16> bytes = {};

  // From the operating system's random source: never repeats, neither between processes nor after a fork.
  static Id128 Random();
  // INVALID_ARGUMENT unless `hex` is 32 hexadecimal digits.
  static absl::StatusOr<Id128> FromHex(absl::string_view hex);
  // None unless `raw` has 16 bytes.
  static Id128 FromBytes(absl::string_view raw);

  bool empty() const { return *this == Id128(); }
  // 32 lower-case digits.
  std::string ToHex() const;
  // 16 raw bytes, as the protos want it.
  std::string ToBytes() const { return std::string(bytes.begin(), bytes.end()); }

  friend bool operator==(const Id128&, const Id128&) = default;
  friend auto operator<=>(const Id128&, const Id128&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Id128& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

}  // namespace evoke::client
