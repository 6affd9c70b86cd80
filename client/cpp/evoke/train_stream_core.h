// What a TrainPipeline does: one stream at a time, opened again as often as it takes. Internal.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "evoke/attempt_series.h"
#include "evoke/memory_core.h"
#include "evoke/train_pipeline.h"
#include "evoke/train_window.h"

namespace evoke::client {

// Driven by Submit and by gRPC's callbacks; no thread of its own. An open stream and a wait between two keep
// it alive. All state is under one lock, which is not held while gRPC, a completion or the clock is
// called.
// Thread-safe.
class TrainStreamCore : public std::enable_shared_from_this<TrainStreamCore> {
 public:
  TrainStreamCore(std::shared_ptr<MemoryCore> memory, const TrainPipelineOptions& options);

  // As TrainPipeline's.
  void Submit(const TrainStepRequest& request, Completion<TrainStepResult> done) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Drain() ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::vector<Future<TrainStepResult>>> Resume() ABSL_LOCKS_EXCLUDED(mu_);
  size_t unanswered() const ABSL_LOCKS_EXCLUDED(mu_);
  // What its destructor does.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr char kRpcName[] = "TrainStream";

  class Stream;  // the reactor; deletes itself when gRPC is done with it
  enum class State {
    kIdle,       // no stream: the next step opens one
    kStreaming,  // steps go out and replies come in
    kEnding,     // the stream takes no more steps, or its end is being dealt with
    kWaiting,    // between two streams, for time to pass or a turn to be read
    kBroken,     // an outcome is unknown: nothing goes on in order
  };
  // Steps that end together, in order; their completions are called without the lock.
  using Endings = std::vector<std::pair<PipelinedStepPtr, absl::Status>>;

  // Of the stream that is open, by gRPC.
  // False: the server answered what nobody asked.
  bool Replied(const v1::TrainStepResponse& reply) ABSL_LOCKS_EXCLUDED(mu_);
  PipelinedStepPtr TakeAnswered() ABSL_LOCKS_EXCLUDED(mu_);
  void Written() ABSL_LOCKS_EXCLUDED(mu_);
  void ReadsEnded() ABSL_LOCKS_EXCLUDED(mu_);
  void Ended(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

  // train_stream_endings.cc: what the end of a stream with unanswered steps means for them. `later`, if set,
  // is called without the lock.
  Endings Decide(const absl::Status& status, absl::AnyInvocable<void()>* later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The oldest step fails alone; the others go on when its completion has run.
  Endings FailOldest(absl::Status error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Everything ends: the oldest step with `error`, the others by what is known of them.
  Endings Break(const absl::Status& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Endings GiveUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run(Endings endings) ABSL_LOCKS_EXCLUDED(mu_);
  // After a wait or an ending: on with what is unanswered.
  void GoOn(State from) ABSL_LOCKS_EXCLUDED(mu_);

  // Waits for a place in the window, and takes it.
  absl::Status Enter(const PipelinedStepPtr& step) ABSL_LOCKS_EXCLUDED(mu_);
  // Opens a stream if there is none, and writes the next step if none is being written.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends a stream on which nothing is unanswered, and gives the server a moment to agree.
  void SayGoodbye() ABSL_LOCKS_EXCLUDED(mu_);
  void OldestChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A stream has no deadline, so somebody has to look whether the oldest step has been waiting for too long.
  void Watch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LookAtTheClock() ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<MemoryCore> memory_;
  const TrainPipelineOptions options_;
  const uint64_t generation_;  // of the memory's sessions when this was made

  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kIdle;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  TrainWindow window_ ABSL_GUARDED_BY(mu_);
  AttemptSeries series_ ABSL_GUARDED_BY(mu_);  // of streams, for the oldest step
  Stream* stream_ ABSL_GUARDED_BY(mu_) = nullptr;
  PipelinedStepPtr writing_ ABSL_GUARDED_BY(mu_);  // what gRPC still reads
  bool timed_out_ ABSL_GUARDED_BY(mu_) = false;    // the stream was cancelled for its oldest step
  bool watched_ ABSL_GUARDED_BY(mu_) = false;
  int reopens_ ABSL_GUARDED_BY(mu_) = 0;     // new sessions since the last reply
  size_t pending_ ABSL_GUARDED_BY(mu_) = 0;  // steps whose completions have not run
  absl::Status broken_ ABSL_GUARDED_BY(mu_);
  std::vector<PipelinedStepPtr> undecided_ ABSL_GUARDED_BY(mu_);  // for Resume
};

}  // namespace evoke::client
