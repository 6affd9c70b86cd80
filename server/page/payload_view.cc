#include "server/page/payload_view.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "server/config/values.h"

namespace evoke {
namespace {

constexpr size_t kShownBytes = 256;
const absl::string_view kPng("\x89PNG\r\n\x1a\n", 8);
const absl::string_view kJpeg("\xff\xd8\xff", 3);

bool IsLegible(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return IsText(text);
}

}  // namespace

Json ToJson(const Payload& payload) {
  Json json = {{"step", payload.step.value}, {"bytes", payload.bytes.size()}};
  if (absl::StartsWith(payload.bytes, kPng) || absl::StartsWith(payload.bytes, kJpeg)) {
    json["kind"] = absl::StartsWith(payload.bytes, kPng) ? "png" : "jpeg";
    json["data"] = absl::Base64Escape(payload.bytes);
  } else if (IsLegible(payload.bytes)) {
    json["kind"] = "text";
    json["data"] = payload.bytes;
  } else {
    json["kind"] = "bytes";
    json["data"] = absl::BytesToHexString(absl::string_view(payload.bytes).substr(0, kShownBytes));
  }
  return json;
}

}  // namespace evoke
