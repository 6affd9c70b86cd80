#include "evoke/numbered_mutation.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"

namespace evoke::client {

absl::StatusOr<NumberedMutation> NumberedMutation::Begin(MemoryCore& core, absl::string_view what,
                                                         const CallOptions& options) {
  const uint64_t generation = core.sessions.generation();
  if (!options.resume.has_value()) {
    return NumberedMutation(core, generation, core.sessions.Take(core.turn_seen.load(std::memory_order_relaxed)), false);
  }
  std::optional<SessionPool::Lease> lease = core.sessions.Resume(*options.resume);
  if (lease.has_value()) return NumberedMutation(core, generation, *std::move(lease), true);
  return absl::InvalidArgumentError(absl::StrCat(what, ": mutation ", options.resume->number, " of session ",
                                                 options.resume->session.ToHex(), " of memory \"", core.name,
                                                 "\" is not held by this client"));
}

void NumberedMutation::Stamp(v1::Mutation* mutation) const {
  mutation->set_session(lease_.id().session.ToBytes());
  mutation->set_number(lease_.id().number);
  mutation->set_first_unacknowledged(lease_.first_unacknowledged());
  mutation->set_opened_after(lease_.id().number == 1 ? lease_.opened_after() : 0);
}

bool NumberedMutation::MayReopen(const absl::Status& status, bool outcome_unknown) {
  // Once an attempt's outcome is unknown, no later refusal makes it known: the refused attempt was another one.
  if (outcome_unknown || resumed_ || reopens_ == kMaxReopens) return false;
  if (GetErrorDetails(status).reason != "SESSION_UNKNOWN") return false;
  if (generation_ != core_->sessions.generation()) return false;
  lease_.Forget();
  return true;
}

void NumberedMutation::Reopen() {
  lease_ = core_->sessions.Open(core_->turn_seen.load(std::memory_order_relaxed));
  ++reopens_;
}

absl::Status NumberedMutation::Settle(absl::Status status, bool outcome_unknown) {
  outcome_unknown = outcome_unknown || resumed_;
  ErrorDetails details = GetErrorDetails(status);
  if (details.reason == "SESSION_UNKNOWN") {
    details.outcome_unknown = outcome_unknown;  // for ever: the record that could tell is gone
    lease_.Forget();
  } else if (details.reason == "STEP_OUT_OF_ORDER" || details.reason == "STEP_TOO_OLD" ||
             details.reason == "STEP_REUSED") {
    lease_.Forget();  // these three say themselves what became of the number
  } else if (outcome_unknown) {
    details.outcome_unknown = true;
    details.mutation = lease_.id();
    lease_.Unknown();
  } else {
    lease_.Refused();
  }
  SetErrorDetails(details, &status);
  return status;
}

}  // namespace evoke::client
