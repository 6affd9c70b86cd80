#include "server/base/errors.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

// Payload urls of our own: values are plain text.
constexpr absl::string_view kReasonUrl = "evoke/reason";
constexpr absl::string_view kRetryUrl = "evoke/retry_ns";
constexpr absl::string_view kMetadataPrefix = "evoke/metadata/";

// Debian's Abseil has a string_view of its own.
absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }

}  // namespace

absl::Status MakeError(absl::StatusCode code, std::string_view message, ErrorDetail detail) {
  absl::Status status(code, ToAbsl(message));
  status.SetPayload(kReasonUrl, absl::Cord(detail.reason));
  if (detail.retry_delay) {
    status.SetPayload(kRetryUrl, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(*detail.retry_delay))));
  }
  for (const auto& [key, value] : detail.metadata) {
    status.SetPayload(absl::StrCat(kMetadataPrefix, key), absl::Cord(value));
  }
  return status;
}

absl::Status BadArgument(std::string_view field, std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, message,
                   {.reason = "BAD_ARGUMENT", .metadata = {{"field", std::string(field)}}});
}

std::optional<ErrorDetail> DetailOf(const absl::Status& status) {
  const absl::optional<absl::Cord> reason = status.GetPayload(kReasonUrl);
  if (!reason) return std::nullopt;
  ErrorDetail detail{.reason = std::string(*reason)};
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    int64_t nanoseconds;
    if (url.substr(0, kMetadataPrefix.size()) == kMetadataPrefix) {
      detail.metadata[std::string(url.substr(kMetadataPrefix.size()))] = std::string(value);
    } else if (url == kRetryUrl && absl::SimpleAtoi(std::string(value), &nanoseconds)) {
      detail.retry_delay = absl::Nanoseconds(nanoseconds);
    }
  });
  return detail;
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(ToAbsl(prefix), ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { annotated.SetPayload(url, value); });
  return annotated;
}

}  // namespace evoke
