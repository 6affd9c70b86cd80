#include "evoke/retry_policy.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"

namespace evoke::client {

absl::Status ValidateRetryPolicy(const RetryPolicy& policy) {
  if (policy.initial_backoff <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("initial_backoff is ", absl::FormatDuration(policy.initial_backoff), ", expected > 0"));
  }
  if (policy.max_backoff < policy.initial_backoff || policy.max_backoff == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_backoff is ", absl::FormatDuration(policy.max_backoff),
        ", expected finite and at least initial_backoff, ", absl::FormatDuration(policy.initial_backoff)));
  }
  if (!std::isfinite(policy.multiplier) || policy.multiplier < 1.0) {
    return absl::InvalidArgumentError(absl::StrCat("multiplier is ", policy.multiplier, ", expected >= 1"));
  }
  if (policy.max_attempts < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_attempts is ", policy.max_attempts, ", expected >= 0"));
  }
  if (policy.attempt_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("attempt_timeout is ", absl::FormatDuration(policy.attempt_timeout), ", expected > 0"));
  }
  return absl::OkStatus();
}

bool IsRetryable(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return true;
    case absl::StatusCode::kCancelled:
      // Nobody here cancels: gRPC answers so for a call that a stopping server had not begun.
      return GetErrorDetails(status).reason.empty();
    case absl::StatusCode::kResourceExhausted:
      // Without a delay waiting does not help: a quota, or a message over gRPC's own limit.
      return GetErrorDetails(status).retry_delay.has_value();
    default:
      return false;
  }
}

bool OutcomeIsUnknown(const absl::Status& status) {
  const std::string reason = GetErrorDetails(status).reason;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return false;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return false;
    case absl::StatusCode::kUnavailable:
      // Only reasons that are known to be given before any work; a reason of a newer server may mean
      // anything.
      return reason != "LOADING" && reason != "DRAINING" && reason != "BEHIND";
    case absl::StatusCode::kDeadlineExceeded:
      return reason != "NOT_APPLIED";
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDataLoss:
      return reason.empty();
    default:
      return true;  // INTERNAL, UNKNOWN, CANCELLED ...: something broke, at any moment
  }
}

std::optional<absl::Duration> DelayBeforeRetry(const RetryPolicy& policy, int attempts,
                                               const absl::Status& status, absl::Duration time_left,
                                               double uniform) {
  if (!IsRetryable(status)) return std::nullopt;
  if (policy.max_attempts > 0 && attempts >= policy.max_attempts) return std::nullopt;

  // The power overflows to infinity after some thousand attempts, which min() then takes care of.
  const absl::Duration backoff =
      std::min(policy.initial_backoff * std::pow(policy.multiplier, attempts - 1), policy.max_backoff);
  const absl::Duration server = GetErrorDetails(status).retry_delay.value_or(absl::ZeroDuration());
  const absl::Duration wait = std::max(server, backoff / 2) + backoff / 2 * uniform;
  if (wait >= time_left) return std::nullopt;
  return wait;
}

}  // namespace evoke::client
