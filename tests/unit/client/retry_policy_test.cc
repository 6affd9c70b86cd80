#include "evoke/retry_policy.h"

#include "evoke/error_details.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;

absl::Status Error(StatusCode code, const std::string& reason = "",
                   std::optional<absl::Duration> delay = {}) {
  absl::Status status(code, "test");
  ErrorDetails details;
  details.reason = reason;
  details.retry_delay = delay;
  SetErrorDetails(details, &status);
  return status;
}

constexpr RetryPolicy kPolicy = {.initial_backoff = absl::Milliseconds(100), .max_backoff = absl::Seconds(1)};

std::optional<absl::Duration> Delay(int attempts, const absl::Status& status, double uniform = 0,
                                    absl::Duration left = absl::Seconds(30), RetryPolicy policy = kPolicy) {
  return DelayBeforeRetry(policy, attempts, status, left, uniform);
}

TEST(RetryPolicyTest, RepeatsWhatTheTableOfErrorsSaysMayBeRepeated) {
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kUnavailable)));
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kUnavailable, "COMMIT_UNKNOWN")));
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kUnavailable, "A_REASON_OF_A_NEWER_SERVER")));
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kDeadlineExceeded)));
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kDeadlineExceeded, "NOT_APPLIED")));
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kResourceExhausted, "MAILBOX_FULL", absl::Milliseconds(5))));
}

TEST(RetryPolicyTest, RepeatsWhatAStoppingServerCancelledWithoutAReason) {
  EXPECT_TRUE(IsRetryable(Error(StatusCode::kCancelled)));
  EXPECT_FALSE(IsRetryable(Error(StatusCode::kCancelled, "A_REASON")));
}

TEST(RetryPolicyTest, NeverRepeatsResourceExhaustedWithoutADelay) {
  EXPECT_FALSE(IsRetryable(Error(StatusCode::kResourceExhausted)));
  EXPECT_FALSE(IsRetryable(Error(StatusCode::kResourceExhausted, "MEMORY_LIMIT")));
}

TEST(RetryPolicyTest, NeverRepeatsAnyOtherCode) {
  for (const StatusCode code :
       {StatusCode::kOk, StatusCode::kUnknown, StatusCode::kInvalidArgument,
        StatusCode::kNotFound, StatusCode::kAlreadyExists, StatusCode::kPermissionDenied,
        StatusCode::kFailedPrecondition, StatusCode::kAborted, StatusCode::kOutOfRange,
        StatusCode::kUnimplemented, StatusCode::kInternal, StatusCode::kDataLoss,
        StatusCode::kUnauthenticated}) {
    EXPECT_FALSE(IsRetryable(absl::Status(code, "test"))) << absl::StatusCodeToString(code);
  }
}

TEST(RetryPolicyTest, OutcomeIsUnknownUnlessTheServerRefused) {
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kUnavailable)));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kUnavailable, "COMMIT_UNKNOWN")));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kUnavailable, "A_REASON_OF_A_NEWER_SERVER")));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kDeadlineExceeded)));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kResourceExhausted)));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kCancelled)));
  EXPECT_TRUE(OutcomeIsUnknown(Error(StatusCode::kInternal, "BUG")));

  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kUnavailable, "LOADING")));
  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kUnavailable, "DRAINING")));
  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kDeadlineExceeded, "NOT_APPLIED")));
  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kResourceExhausted, "MAILBOX_FULL")));
  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kInvalidArgument, "BAD_SHAPE")));
  EXPECT_FALSE(OutcomeIsUnknown(Error(StatusCode::kUnauthenticated)));
}

TEST(RetryPolicyTest, BackoffDoublesUpToItsMaximum) {
  const absl::Status status = Error(StatusCode::kUnavailable);
  EXPECT_EQ(Delay(1, status), absl::Milliseconds(50));
  EXPECT_EQ(Delay(2, status), absl::Milliseconds(100));
  EXPECT_EQ(Delay(4, status), absl::Milliseconds(400));
  EXPECT_EQ(Delay(5, status), absl::Milliseconds(500));
  EXPECT_EQ(Delay(100000, status), absl::Milliseconds(500));
}

TEST(RetryPolicyTest, JitterSpreadsOverTheUpperHalfOfTheBackoff) {
  EXPECT_EQ(Delay(1, Error(StatusCode::kUnavailable), 0.5), absl::Milliseconds(75));
  EXPECT_LT(Delay(1, Error(StatusCode::kUnavailable), 0.999), absl::Milliseconds(100));
}

TEST(RetryPolicyTest, NeverWaitsLessThanTheServerAsksFor) {
  const absl::Status status = Error(StatusCode::kResourceExhausted, "MAILBOX_FULL", absl::Seconds(3));
  EXPECT_EQ(Delay(1, status), absl::Seconds(3));
  EXPECT_EQ(Delay(1, status, 0.5), absl::Seconds(3) + absl::Milliseconds(25));
}

TEST(RetryPolicyTest, GivesUpWhenTheWaitWouldReachTheDeadline) {
  const absl::Status status = Error(StatusCode::kUnavailable, "LOADING", absl::Seconds(3));
  EXPECT_EQ(Delay(1, status, 0, absl::Seconds(3)), std::nullopt);
  EXPECT_EQ(Delay(1, status, 0, absl::Milliseconds(3001)), absl::Seconds(3));
}

TEST(RetryPolicyTest, GivesUpAfterTheLastAttempt) {
  RetryPolicy policy = kPolicy;
  policy.max_attempts = 2;
  EXPECT_TRUE(Delay(1, Error(StatusCode::kUnavailable), 0, absl::Seconds(30), policy).has_value());
  EXPECT_FALSE(Delay(2, Error(StatusCode::kUnavailable), 0, absl::Seconds(30), policy).has_value());
}

TEST(RetryPolicyTest, ValidationNamesTheFieldThatIsOutOfBounds) {
  EXPECT_TRUE(ValidateRetryPolicy({}).ok());
  const auto message = [](RetryPolicy policy) { return std::string(ValidateRetryPolicy(policy).message()); };
  EXPECT_NE(message({.initial_backoff = absl::ZeroDuration()}).find("initial_backoff"), std::string::npos);
  EXPECT_NE(message({.max_backoff = absl::Milliseconds(1)}).find("max_backoff"), std::string::npos);
  EXPECT_NE(message({.multiplier = 0.5}).find("multiplier"), std::string::npos);
  EXPECT_NE(message({.max_attempts = -1}).find("max_attempts"), std::string::npos);
  EXPECT_NE(message({.attempt_timeout = -absl::Seconds(1)}).find("attempt_timeout"), std::string::npos);
}

}  // namespace
}  // namespace evoke::client
