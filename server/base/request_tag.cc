#include "server/base/request_tag.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace evoke {
namespace {

bool IsLowerHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// An id of nothing.
bool IsZeros(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

bool IsRequestId(std::string_view text) {
  constexpr std::string_view kPunctuation = "._-:/+=@,";
  return !text.empty() && text.size() <= kMaxRequestIdBytes && std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kPunctuation.find(c) != std::string_view::npos;
  });
}

std::optional<TraceParent> ParseTraceParent(std::string_view text) {
  // 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
  if (text.size() != 55 || text.substr(0, 3) != "00-" || text[35] != '-' || text[52] != '-') return std::nullopt;
  const TraceParent parent{.trace_id = text.substr(3, 32), .span_id = text.substr(36, 16)};
  const std::string_view flags = text.substr(53);
  if (!IsLowerHex(parent.trace_id) || !IsLowerHex(parent.span_id) || !IsLowerHex(flags)) return std::nullopt;
  if (IsZeros(parent.trace_id) || IsZeros(parent.span_id)) return std::nullopt;
  return parent;
}

}  // namespace evoke
