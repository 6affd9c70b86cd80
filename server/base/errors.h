// Errors that a client can act on: a status code, a stable reason, and what it needs to know besides.
//
// proto/README.md lists the reasons; the service layer turns them into google.rpc.ErrorInfo and RetryInfo.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace evoke {

struct ErrorDetail {
  std::string reason;                           // UPPER_SNAKE_CASE
  std::map<std::string, std::string> metadata;  // for instance last_number, field
  std::optional<absl::Duration> retry_delay;    // set where waiting helps
};

// A status that carries the detail along. Requires: code is not OK.
absl::Status MakeError(absl::StatusCode code, std::string_view message, ErrorDetail detail);

// INVALID_ARGUMENT / BAD_ARGUMENT naming the field.
absl::Status BadArgument(std::string_view field, std::string_view message);

// What MakeError put in; nothing for a status that was made without.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

// The same status and detail with `prefix` put before the message: each layer adds its own coordinates once.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

}  // namespace evoke
