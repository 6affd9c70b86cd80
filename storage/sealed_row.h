// The checksum of a stored row: it covers the row's key too, so that a row under a wrong key is found.
//
//   value = body | XXH3-64 of the body, seeded with XXH3-64 of the key
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace evoke {

// Appends the checksum to what is in `value`.
void SealRow(std::string_view key, std::string* value);

// The body, a part of `value`; nothing when the checksum does not hold.
std::optional<std::string_view> OpenSealedRow(std::string_view key, std::string_view value);

}  // namespace evoke
