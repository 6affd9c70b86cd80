// Which errors are tried again, and after how long. Pure functions: no clock, no randomness, no gRPC.
//
// Every call of this library is safe to repeat: reads change nothing, mutations carry a session and a number,
// Create and Delete name a uid. So only the status decides:
//
//   UNAVAILABLE, whatever the reason, and failures of the transport    again
//   RESOURCE_EXHAUSTED with the server's delay                         again, not before that delay
//   DEADLINE_EXCEEDED of one attempt while the call has time left      again
//   everything else                                                    never
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace evoke::client {

struct RetryPolicy {
  absl::Duration initial_backoff = absl::Milliseconds(50);  // before the second attempt; > 0
  absl::Duration max_backoff = absl::Seconds(2);  // >= initial_backoff. A server that recovers is noticed
                                                  // within it; longer only to spare a crowd
  double multiplier = 2.0;                        // from one attempt to the next; >= 1
  int max_attempts = 0;                           // 0: as many as the deadline allows; 1: never again
  absl::Duration attempt_timeout =
      absl::InfiniteDuration();  // of one attempt, > 0; finite: a peer that vanished
                                 // without a word is given up before the deadline
};

// INVALID_ARGUMENT naming the field that is out of bounds.
absl::Status ValidateRetryPolicy(const RetryPolicy& policy);

// Whether the same request may be sent again after this status.
bool IsRetryable(const absl::Status& status);

// Whether a mutation that got this status may have been applied all the same. False only where the server
// said, or the code implies, that it refused.
bool OutcomeIsUnknown(const absl::Status& status);

// How long to wait before attempt `attempts` + 1, when `attempts` were made and the last one got `status`;
// nullopt: give up, because it may not be repeated or because the wait would not end before `time_left` does.
// Back-off b = initial * multiplier^(attempts - 1), at most max; the wait is max(server's delay, b / 2) +
// uniform * b / 2, so that callers who were refused together do not come back together. `uniform` is in [0,
// 1).
std::optional<absl::Duration> DelayBeforeRetry(const RetryPolicy& policy, int attempts,
                                               const absl::Status& status, absl::Duration time_left,
                                               double uniform);

}  // namespace evoke::client
