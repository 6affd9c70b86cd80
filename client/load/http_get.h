// One page by HTTP: the metrics of a server.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evoke::load {

// The body that a GET of `url` answers with code 200; otherwise UNAVAILABLE or INVALID_ARGUMENT naming the
// URL and what went wrong. Blocks, at most `timeout`. Thread-safe.
absl::StatusOr<std::string> HttpGet(const std::string& url, absl::Duration timeout);

}  // namespace evoke::load
