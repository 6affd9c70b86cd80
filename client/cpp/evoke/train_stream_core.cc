#include "evoke/train_stream_core.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "evoke/async_call.h"
#include "evoke/convert.h"

namespace evoke::client {
namespace {

constexpr char kRpc[] = "TrainStream";
constexpr absl::Duration kFarewell =
    absl::Seconds(1);  // for a server to end a stream of which nothing is left

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

// Callbacks of one stream come one after another, but for OnWriteDone, which may come beside the others.
class TrainStreamCore::Stream final
    : public grpc::ClientBidiReactor<v1::TrainStepRequest, v1::TrainStepResponse> {
 public:
  explicit Stream(std::shared_ptr<TrainStreamCore> core) : core_(std::move(core)) {}

  grpc::ClientContext& context() { return context_; }

  void Start(Connection::Stubs& stubs) {
    stubs.memory->async()->TrainStream(&context_, this);
    AddHold();  // Submit writes from outside the callbacks, so the end has to wait until it no longer does
    StartRead(&reply_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    CompletionScope scope;
    if (!ok) {
      core_->ReadsEnded();
      RemoveHold();
      return;
    }
    core_->Replied(reply_);  // before the next read, so that completions keep their order
    StartRead(&reply_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) core_->Written();
  }
  void OnDone(const grpc::Status& status) override {
    CompletionScope scope;
    const std::shared_ptr<TrainStreamCore> core = core_;  // goes inside the scope
    core->Ended(StatusFromGrpc(status));
    delete this;
  }

 private:
  const std::shared_ptr<TrainStreamCore> core_;
  grpc::ClientContext context_;
  v1::TrainStepResponse reply_;
};

TrainStreamCore::TrainStreamCore(std::shared_ptr<MemoryCore> memory, const TrainPipelineOptions& options)
    : memory_(std::move(memory)),
      options_(options),
      generation_(memory_->sessions.generation()),
      series_(*memory_->connection, absl::InfinitePast(), Connection::AttemptTime::kEndless) {}

void TrainStreamCore::Submit(const TrainStepRequest& request, Completion<TrainStepResult> done) {
  auto step = std::make_shared<PipelinedStep>();
  step->done = std::move(done);
  absl::Status refused = ToProto(request, &step->request);
  if (refused.ok() && !AnyRowWrites(request.embeddings.rows, request.write, request.skip)) {
    refused = absl::InvalidArgumentError(absl::StrCat(
        CallName(*memory_, kRpc), ": no row of the step writes, so it has no place in the order"));
    ErrorDetails details;
    details.reason = "BAD_ARGUMENT";
    SetErrorDetails(details, &refused);
  }
  FillMemoryRef(*memory_, {.epoch = options_.epoch}, step->request.mutable_memory());
  if (refused.ok()) {
    absl::MutexLock lock(&mu_);
    const auto may_enter = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return window_.size() < options_.window || state_ == State::kBroken;
    };
    if (!CompletionScope::InsideOne()) mu_.Await(absl::Condition(&may_enter));
    if (state_ != State::kBroken && !closed_) {
      step->deadline = *memory_->connection->DeadlineAfter(options_.deadline);
      window_.Push(std::move(step));
      ++pending_;
      if (window_.size() == 1) OldestChanged();
      return Pump();
    }
    refused = absl::FailedPreconditionError(
        absl::StrCat(CallName(*memory_, kRpc), " takes no more steps: ", broken_.message()));
  }
  CompletionScope scope;
  step->done(std::move(refused));
}

void TrainStreamCore::Pump() {
  if (window_.empty() || closed_) return;
  if (state_ == State::kIdle) {
    stream_ = new Stream(shared_from_this());
    stream_->Start(series_.Begin(&stream_->context()));
    state_ = State::kStreaming;
    Watch();
  }
  if (state_ == State::kStreaming && writing_ == nullptr) {
    writing_ = window_.NextToWrite(memory_->turn_seen.load(std::memory_order_relaxed));
    if (writing_ != nullptr) stream_->StartWrite(&writing_->request);
  }
}

void TrainStreamCore::Written() {
  absl::MutexLock lock(&mu_);
  writing_ = nullptr;
  Pump();
}

void TrainStreamCore::Replied(const v1::TrainStepResponse& reply) {
  memory_->SawTurn(reply.header().turn());
  PipelinedStepPtr step;
  {
    absl::MutexLock lock(&mu_);
    if (window_.written() == 0) return stream_->context().TryCancel();  // an answer that nobody asked for
    step = window_.Answered();
    reopens_ = 0;
    if (!window_.empty()) OldestChanged();
  }
  step->done(FromProto(reply, memory_->key_dim));
  absl::MutexLock lock(&mu_);
  --pending_;
}

void TrainStreamCore::ReadsEnded() {
  absl::MutexLock lock(&mu_);
  state_ = State::kEnding;
}

void TrainStreamCore::Ended(absl::Status status) {
  Endings endings;
  absl::AnyInvocable<void()> later;
  {
    absl::MutexLock lock(&mu_);
    stream_ = nullptr;
    writing_ = nullptr;
    if (std::exchange(timed_out_, false) && !status.ok()) {
      status = absl::DeadlineExceededError("no answer before the deadline of the oldest step");
    } else if (status.ok() && window_.written() > 0) {
      status = absl::UnavailableError("the server ended the stream before it had answered");
    }
    window_.StreamEnded(OutcomeIsUnknown(status));
    if (closed_) {
      endings = GiveUp();
    } else if (!status.ok() && !window_.empty()) {
      endings = Decide(status, &later);
    }
  }
  Run(std::move(endings));
  if (later != nullptr) later();
  GoOn(State::kEnding);
}

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
  const absl::Status error = series_.Explain(CallName(*memory_, kRpc), status);
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
      absl::CancelledError(absl::StrCat(CallName(*memory_, kRpc), ": the pipeline was destroyed"));
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

void TrainStreamCore::GoOn(State from) {
  absl::MutexLock lock(&mu_);
  if (state_ != from || stream_ != nullptr) return;
  state_ = State::kIdle;
  Pump();
}

void TrainStreamCore::OldestChanged() {
  series_.Restart(window_.oldest()->deadline, stream_ == nullptr ? 0 : 1);
  Watch();
}

void TrainStreamCore::Watch() {
  if (std::exchange(watched_, true)) return;
  const absl::Duration left = window_.oldest()->deadline - memory_->connection->clock().Now();
  // In the machine's time: it guards against a server that says nothing, as gRPC's deadlines do.
  RealClock().CallAfter(std::max(left, absl::ZeroDuration()), [weak = weak_from_this()] {
    CompletionScope scope;
    if (const std::shared_ptr<TrainStreamCore> core = weak.lock()) core->LookAtTheClock();
  });
}

void TrainStreamCore::LookAtTheClock() {
  absl::MutexLock lock(&mu_);
  watched_ = false;
  if (window_.empty()) return;  // who makes it otherwise watches again
  if (memory_->connection->clock().Now() < window_.oldest()->deadline) return Watch();
  if (stream_ == nullptr) return;  // waits between streams end before the deadline does
  timed_out_ = true;
  stream_->context().TryCancel();
}

absl::Status TrainStreamCore::Drain() {
  absl::MutexLock lock(&mu_);
  const auto drained = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return pending_ == 0; };
  mu_.Await(absl::Condition(&drained));
  return broken_;
}

absl::StatusOr<std::vector<Future<TrainStepResult>>> TrainStreamCore::Resume() {
  std::vector<Future<TrainStepResult>> futures;
  absl::MutexLock lock(&mu_);
  if (undecided_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(CallName(*memory_, kRpc), " has no step whose outcome could be found out"));
  }
  for (const PipelinedStepPtr& step : undecided_) {
    std::promise<absl::StatusOr<TrainStepResult>> promise;
    futures.push_back(promise.get_future());
    step->done = [promise = std::move(promise)](absl::StatusOr<TrainStepResult> result) mutable {
      promise.set_value(std::move(result));
    };
    step->deadline = *memory_->connection->DeadlineAfter(options_.deadline);
  }
  pending_ += undecided_.size();
  window_.PutBack(std::exchange(undecided_, {}));
  broken_ = absl::OkStatus();
  state_ = State::kIdle;
  OldestChanged();
  Pump();
  return futures;
}

size_t TrainStreamCore::unanswered() const {
  absl::MutexLock lock(&mu_);
  return window_.size();
}

void TrainStreamCore::Close() {
  Endings endings;
  const bool may_wait = !CompletionScope::InsideOne();
  const auto no_stream = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stream_ == nullptr; };
  {
    absl::MutexLock lock(&mu_);
    if (may_wait && window_.empty() && state_ == State::kStreaming && writing_ == nullptr) {
      state_ = State::kEnding;
      stream_->StartWritesDone();
      mu_.AwaitWithTimeout(absl::Condition(&no_stream), kFarewell);
    }
    closed_ = true;
    if (stream_ != nullptr) {
      stream_->context().TryCancel();  // the rest ends with it
    } else {
      endings = GiveUp();
    }
  }
  Run(std::move(endings));
  if (!may_wait) return;
  absl::MutexLock lock(&mu_);
  const auto over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stream_ == nullptr && pending_ == 0; };
  mu_.Await(absl::Condition(&over));
}

}  // namespace evoke::client
