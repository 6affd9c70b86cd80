#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/async_call.h"
#include "evoke/train_stream_core.h"

namespace evoke::client {
namespace {

absl::Status WithUnknown(absl::Status status) {
  ErrorDetails details = GetErrorDetails(status);
  details.outcome_unknown = true;
  SetErrorDetails(details, &status);
  return status;
}

// Whether the request itself is at fault, so that the server must have refused every copy of it alike.
// (Limits are not among them: a server may have come back with others.)
bool IsRefusedWhenever(const absl::Status& status) {
  const std::string reason = GetErrorDetails(status).reason;
  return absl::IsInvalidArgument(status) &&
         (reason == "NON_FINITE" || reason == "BAD_NORM" || reason == "BAD_SHAPE");
}

}  // namespace

TrainStreamCore::Endings TrainStreamCore::Decide(const absl::Status& status,
                                                 absl::AnyInvocable<void()>* later) {
  if (const std::optional<absl::Duration> delay = series_.DelayAfter(status)) {
    if (*delay == absl::ZeroDuration()) return {};
    state_ = State::kWaiting;
    *later = [self = shared_from_this(), delay = *delay] {
      self->memory_->connection->clock().CallAfter(delay, [self] { self->GoOn(State::kWaiting); });
    };
    return {};
  }
  const absl::Status error = series_.Explain(CallName(*memory_, kRpcName), status);
  const std::string reason = GetErrorDetails(status).reason;
  const bool session_is_gone = reason == "SESSION_UNKNOWN" || reason == "STEP_OUT_OF_ORDER" ||
                               reason == "STEP_TOO_OLD" || reason == "STEP_REUSED";
  if (reason == "SESSION_UNKNOWN" && window_.unknown() == 0 && reopens_ < kMaxReopens &&
      generation_ == memory_->sessions.generation()) {
    ++reopens_;
    state_ = State::kWaiting;
    *later = [self = shared_from_this(), deadline = window_.oldest()->deadline] {
      RefreshTurnAsync(self->memory_, deadline, [self](absl::Status refreshed) {
        Endings endings;
        {
          absl::MutexLock lock(&self->mu_);
          if (self->state_ != State::kWaiting || self->window_.empty()) return;
          if (refreshed.ok()) self->window_.NewSession();
          if (!refreshed.ok()) endings = self->FailOldest(std::move(refreshed));
        }
        self->Run(std::move(endings));
        self->GoOn(State::kWaiting);
      });
    };
    return {};
  }
  if (IsRefusedWhenever(status)) window_.OldestIsSurelyNotApplied();
  if (session_is_gone || window_.unknown() > 0) {
    Endings endings = Break(error);
    if (session_is_gone) undecided_.clear();  // the record that could tell is gone
    return endings;
  }
  return FailOldest(error);
}

TrainStreamCore::Endings TrainStreamCore::FailOldest(absl::Status error) {
  Endings endings;
  endings.emplace_back(window_.DropRefused(), std::move(error));
  if (!window_.empty()) OldestChanged();
  return endings;
}

TrainStreamCore::Endings TrainStreamCore::Break(const absl::Status& error) {
  state_ = State::kBroken;
  broken_ = error;
  std::vector<PipelinedStepPtr> steps = window_.TakeAll();
  const size_t unknown = window_.unknown();
  undecided_.assign(steps.begin(), steps.begin() + static_cast<ptrdiff_t>(unknown));
  Endings endings;
  for (size_t i = 0; i < steps.size(); ++i) {
    absl::Status status = error;
    if (i < unknown) {
      status = WithUnknown(error);
    } else if (i > 0) {
      status =
          absl::AbortedError(absl::StrCat("was not applied, because of a step before it: ", error.message()));
    }
    endings.emplace_back(std::move(steps[i]), std::move(status));
  }
  return endings;
}

TrainStreamCore::Endings TrainStreamCore::GiveUp() {
  Endings endings;
  std::vector<PipelinedStepPtr> steps = window_.TakeAll();
  const absl::Status cancelled =
      absl::CancelledError(absl::StrCat(CallName(*memory_, kRpcName), ": the pipeline was destroyed"));
  for (size_t i = 0; i < steps.size(); ++i) {
    endings.emplace_back(std::move(steps[i]), i < window_.unknown() ? WithUnknown(cancelled) : cancelled);
  }
  return endings;
}

void TrainStreamCore::Run(Endings endings) {
  if (endings.empty()) return;
  CompletionScope scope;
  for (auto& [step, status] : endings) step->done(std::move(status));
  absl::MutexLock lock(&mu_);
  pending_ -= endings.size();
}

}  // namespace evoke::client
