// SHA-256 of files, by OpenSSL: what a manifest says of each file, and what other tools can check.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace evoke {

// 64 lower-case hex digits.
std::string Sha256(std::string_view bytes);

// Of a whole file, read in pieces; `visit` gets each piece and may end it with a status.
absl::StatusOr<std::string> Sha256OfFile(
    const std::string& path, const std::function<absl::Status(std::string_view)>& visit = nullptr);

}  // namespace evoke
