// Values of options, from text.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace evoke {

// Each sets *out or returns what it expects instead, as in `threads is "x", expects <this>`. Empty: fine.
std::string ParseNumber(const std::string& text, uint64_t low, uint64_t high, uint64_t* out);
// A number of bytes, or one with KiB, MiB or GiB behind it.
std::string ParseBytes(const std::string& text, uint64_t low, uint64_t high, uint64_t* out);
// "30s", "1m30s", "500ms"; not negative, at most a day.
std::string ParseDuration(const std::string& text, absl::Duration* out);
std::string ParseBool(const std::string& text, bool* out);

// host:port, [v6]:port, or unix:path when `unix_allowed`.
std::string CheckAddress(const std::string& text, bool unix_allowed);
// Whether only this machine can reach it: a unix socket, localhost, 127.0.0.0/8 or ::1. Requires:
// CheckAddress is fine.
bool IsLocal(const std::string& address);

// UTF-8 without control characters.
bool IsText(const std::string& text);

// Insertions, deletions, replacements and swaps of neighbours that make one of the other.
int EditDistance(const std::string& a, const std::string& b);

}  // namespace evoke
