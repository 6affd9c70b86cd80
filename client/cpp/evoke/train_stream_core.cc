#include "evoke/train_stream_core.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "evoke/async_call.h"
#include "evoke/convert.h"

namespace evoke::client {
namespace {

constexpr absl::Duration kFarewell =
    absl::Seconds(1);  // for a server to end a stream of which nothing is left

}  // namespace

// Callbacks of one stream come one after another, but for OnWriteDone, which may come beside the others.
class TrainStreamCore::Stream final
    : public grpc::ClientBidiReactor<v1::TrainStepRequest, v1::TrainStepResponse> {
 public:
  explicit Stream(std::shared_ptr<TrainStreamCore> core) : core_(std::move(core)) {}

  // Outlives the stream for whoever cancels it.
  const std::shared_ptr<grpc::ClientContext>& context() { return context_; }

  // Nothing is sent before Open.
  void Prepare(Connection::Stubs& stubs) {
    stubs.memory->async()->TrainStream(context_.get(), this);
    AddHold();  // Submit writes from outside the callbacks, so the end has to wait until it no longer does
  }
  void Open() {
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
    // Before the next read, so that completions keep their order.
    if (!core_->Replied(reply_)) context_->TryCancel();  // an answer that nobody asked for
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
  const std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
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
        CallName(*memory_, kRpcName), ": no row of the step writes, so it has no place in the order"));
    ErrorDetails details;
    details.reason = "BAD_ARGUMENT";
    SetErrorDetails(details, &refused);
  }
  FillMemoryRef(*memory_, {.epoch = options_.epoch}, step->request.mutable_memory());
  if (refused.ok()) refused = Enter(step);
  if (refused.ok()) return Pump();
  CompletionScope scope;
  step->done(std::move(refused));
}

absl::Status TrainStreamCore::Enter(const PipelinedStepPtr& step) {
  absl::MutexLock lock(&mu_);
  const auto may_enter = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return window_.size() < options_.window || state_ == State::kBroken;
  };
  if (!CompletionScope::InsideOne()) mu_.Await(absl::Condition(&may_enter));
  if (state_ == State::kBroken || closed_) {
    return absl::FailedPreconditionError(
        absl::StrCat(CallName(*memory_, kRpcName), " takes no more steps: ", broken_.message()));
  }
  step->deadline = *memory_->connection->DeadlineAfter(options_.deadline);
  window_.Push(step);
  ++pending_;
  if (window_.size() == 1) OldestChanged();
  return absl::OkStatus();
}

// Operations of gRPC start without the lock, because it may call back before they return. What keeps the
// stream meanwhile is a hold, and that only one step is written at a time.
void TrainStreamCore::Pump() {
  Stream* stream;
  PipelinedStepPtr step;
  bool opens = false;
  {
    absl::MutexLock lock(&mu_);
    if (window_.empty() || closed_) return;
    if (state_ == State::kIdle) {
      opens = true;
      state_ = State::kStreaming;
      stream_ = new Stream(shared_from_this());
      stream_->Prepare(series_.Begin(stream_->context().get()));
      Watch();
    }
    if (state_ != State::kStreaming || writing_ != nullptr) return;
    writing_ = window_.NextToWrite(memory_->turn_seen.load(std::memory_order_relaxed));
    if (writing_ == nullptr) return;
    step = writing_;
    stream = stream_;
    stream->AddHold();
  }
  if (opens) stream->Open();
  stream->StartWrite(&step->request);
  stream->RemoveHold();
}

void TrainStreamCore::Written() {
  {
    absl::MutexLock lock(&mu_);
    writing_ = nullptr;
  }
  Pump();
}

bool TrainStreamCore::Replied(const v1::TrainStepResponse& reply) {
  memory_->SawTurn(reply.header().turn());
  const PipelinedStepPtr step = TakeAnswered();
  if (step == nullptr) return false;
  step->done(FromProto(reply, memory_->key_dim));
  absl::MutexLock lock(&mu_);
  --pending_;
  return true;
}

PipelinedStepPtr TrainStreamCore::TakeAnswered() {
  absl::MutexLock lock(&mu_);
  if (window_.written() == 0) return nullptr;
  PipelinedStepPtr step = window_.Answered();
  reopens_ = 0;
  if (!window_.empty()) OldestChanged();
  return step;
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

void TrainStreamCore::GoOn(State from) {
  {
    absl::MutexLock lock(&mu_);
    if (state_ != from || stream_ != nullptr) return;
    state_ = State::kIdle;
  }
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
  std::shared_ptr<grpc::ClientContext> context;
  {
    absl::MutexLock lock(&mu_);
    watched_ = false;
    if (window_.empty()) return;  // who makes it otherwise watches again
    if (memory_->connection->clock().Now() < window_.oldest()->deadline) return Watch();
    if (stream_ == nullptr) return;  // waits between streams end before the deadline does
    timed_out_ = true;
    context = stream_->context();
  }
  context->TryCancel();
}

absl::Status TrainStreamCore::Drain() {
  absl::MutexLock lock(&mu_);
  const auto drained = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return pending_ == 0; };
  mu_.Await(absl::Condition(&drained));
  return broken_;
}

absl::StatusOr<std::vector<Future<TrainStepResult>>> TrainStreamCore::Resume() {
  std::vector<Future<TrainStepResult>> futures;
  absl::ReleasableMutexLock lock(&mu_);
  if (undecided_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(CallName(*memory_, kRpcName), " has no step whose outcome could be found out"));
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
  lock.Release();
  Pump();
  return futures;
}

size_t TrainStreamCore::unanswered() const {
  absl::MutexLock lock(&mu_);
  return window_.size();
}

void TrainStreamCore::Close() {
  const bool may_wait = !CompletionScope::InsideOne();
  if (may_wait) SayGoodbye();
  Endings endings;
  std::shared_ptr<grpc::ClientContext> context;
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    if (stream_ != nullptr) {
      context = stream_->context();  // the rest ends with it
    } else {
      endings = GiveUp();
    }
  }
  if (context != nullptr) context->TryCancel();
  Run(std::move(endings));
  if (!may_wait) return;
  absl::MutexLock lock(&mu_);
  const auto over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stream_ == nullptr && pending_ == 0; };
  mu_.Await(absl::Condition(&over));
}

void TrainStreamCore::SayGoodbye() {
  Stream* stream;
  {
    absl::MutexLock lock(&mu_);
    if (!window_.empty() || state_ != State::kStreaming || writing_ != nullptr) return;
    state_ = State::kEnding;
    stream = stream_;
    stream->AddHold();
  }
  stream->StartWritesDone();
  stream->RemoveHold();
  absl::MutexLock lock(&mu_);
  const auto gone = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stream_ == nullptr; };
  mu_.AwaitWithTimeout(absl::Condition(&gone), kFarewell);
}

}  // namespace evoke::client
