#include "evoke/attempt_series.h"

#include <algorithm>
#include <chrono>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"

namespace evoke::client {

Connection::Stubs& AttemptSeries::Begin(grpc::ClientContext* context) {
  index_ = connection_.current_.load(std::memory_order_relaxed);
  if (attempt_time_ != Connection::AttemptTime::kEndless) {
    const absl::Duration limit = attempt_time_ == Connection::AttemptTime::kAll
                                     ? absl::InfiniteDuration()
                                     : connection_.options_.retry.attempt_timeout;
    const absl::Duration left = std::min(deadline_ - connection_.clock().Now(), limit);
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(left));
  }
  token_ = connection_.token_->Header();
  if (!token_.empty()) context->AddMetadata("authorization", token_);
  context->AddMetadata("x-request-id", names_.request_id);
  if (!names_.traceparent.empty()) context->AddMetadata("traceparent", names_.traceparent);
  ++attempts_;
  return connection_.stubs_[index_];
}

std::optional<absl::Duration> AttemptSeries::DelayAfter(const absl::Status& status) {
  // Its owner may have been given another one since it was read.
  if (absl::IsUnauthenticated(status) && connection_.token_->Renew(token_)) {
    --attempts_;
    return absl::ZeroDuration();
  }
  if (OutcomeIsUnknown(status)) outcome_unknown_ = true;
  if (absl::IsUnavailable(status)) {
    size_t expected = index_;  // of callers that failed together one moves on
    connection_.current_.compare_exchange_strong(expected, (index_ + 1) % connection_.stubs_.size(),
                                                 std::memory_order_relaxed);
  }
  absl::InsecureBitGen random;
  return DelayBeforeRetry(connection_.options_.retry, attempts_, status, deadline_ - connection_.clock().Now(),
                          absl::Uniform<double>(random, 0.0, 1.0));
}

absl::Status AttemptSeries::Explain(absl::string_view what, const absl::Status& status) const {
  absl::Status result(
      status.code(),
      absl::StrCat(what, " at ", connection_.stubs_[index_].address,
                   attempts_ > 1 ? absl::StrCat(", attempt ", attempts_) : "", ", request ", names_.request_id, ": ",
                   status.message()));
  ErrorDetails details = GetErrorDetails(status);
  details.attempts = attempts_;
  details.request_id = names_.request_id;
  SetErrorDetails(details, &result);
  return result;
}

void AttemptSeries::Restart(absl::Time deadline, int attempts) {
  deadline_ = deadline;
  attempts_ = attempts;
  outcome_unknown_ = false;
}

}  // namespace evoke::client
