#include "server/config/values.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace evoke {

std::string ParseNumber(const std::string& text, uint64_t low, uint64_t high, uint64_t* out) {
  uint64_t number;
  if (!absl::SimpleAtoi(text, &number) || number < low || number > high) {
    return absl::StrCat("a whole number from ", low, " to ", high);
  }
  *out = number;
  return "";
}

std::string ParseBytes(const std::string& text, uint64_t low, uint64_t high, uint64_t* out) {
  constexpr std::pair<const char*, int> kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  std::string digits = text;
  int shift = 0;
  for (const auto& [suffix, bits] : kUnits) {
    if (absl::EndsWith(text, suffix)) {
      digits = text.substr(0, text.size() - 3);
      shift = bits;
    }
  }
  uint64_t number;
  if (!absl::SimpleAtoi(digits, &number) || number > high >> shift || number << shift < low) {
    return absl::StrCat("bytes from ", low, " to ", high, ", or a number with KiB, MiB or GiB");
  }
  *out = number << shift;
  return "";
}

std::string ParseDuration(const std::string& text, absl::Duration* out) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration > absl::Hours(24)) {
    return "a duration like 30s, 1m30s or 500ms, at most 24h";
  }
  *out = duration;
  return "";
}

std::string ParseBool(const std::string& text, bool* out) {
  if (text == "true" || text == "1") {
    *out = true;
  } else if (text == "false" || text == "0") {
    *out = false;
  } else {
    return "true or false";
  }
  return "";
}

std::string CheckAddress(const std::string& text, bool unix_allowed) {
  const std::string expected = unix_allowed ? "host:port or unix:path" : "host:port";
  if (absl::StartsWith(text, "unix:")) {
    // sockaddr_un holds 107 bytes of path.
    return unix_allowed && text.size() > 5 && text.size() <= 5 + 107 ? "" : expected;
  }
  const size_t colon = text.rfind(':');
  uint64_t port;
  if (colon == std::string::npos || colon == 0 ||
      !ParseNumber(text.substr(colon + 1), 0, 65535, &port).empty())
    return expected;
  const std::string host = text.substr(0, colon);
  if (host.find(':') != std::string::npos && !(host.front() == '[' && host.back() == ']')) return expected;
  return "";
}

bool IsLocal(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]") return true;
  if (!absl::StartsWith(host, "127.")) return false;
  return host.find_first_not_of("0123456789.") == std::string::npos;  // not a name like 127.example.com
}

bool IsText(const std::string& text) {
  uint32_t code = 0;
  int following = 0;  // bytes that the character still needs
  uint32_t least = 0;
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (following > 0) {
      if ((byte & 0xc0) != 0x80) return false;
      code = code << 6 | (byte & 0x3f);
      if (--following > 0) continue;
      const bool surrogate = code >= 0xd800 && code <= 0xdfff;
      if (code < least || surrogate || code > 0x10ffff || code < 0xa0) return false;
    } else if (byte < 0x80) {
      if (byte < 0x20 || byte == 0x7f) return false;
    } else if (byte >= 0xc2 && byte <= 0xf4) {
      following = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
      code = byte & (0x3f >> following);
      least = following == 3 ? 0x10000 : following == 2 ? 0x800 : 0x80;
    } else {
      return false;
    }
  }
  return following == 0;
}

int EditDistance(const std::string& a, const std::string& b) {
  std::vector<std::vector<int>> cost(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int>(i + j);
        continue;
      }
      cost[i][j] =
          std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace evoke
