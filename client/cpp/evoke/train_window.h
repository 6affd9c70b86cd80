// The unanswered steps of a pipeline, and what the end of a stream means for them. Internal; no I/O, no
// clock.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "evoke/id128.h"
#include "evoke/memory.h"
#include "evoke/v1/memory_service.pb.h"

namespace evoke::client {

// Shared, because gRPC may still read a request whose answer is there already.
struct PipelinedStep {
  v1::TrainStepRequest request;
  Completion<TrainStepResult> done;
  absl::Time deadline;  // by the client's clock
};
using PipelinedStepPtr = std::shared_ptr<PipelinedStep>;

// Steps in the order of Submit: the oldest `written` of them went out on the stream that is open, and of an
// earlier stream the oldest `unknown` may have been applied. Numbers follow from places, so a step that is
// refused for certain leaves its number to the next.
//
// What everything rests on: a session admits number n + 1 only after n. So when the oldest step was surely
// not applied, no later one was. But copies of them may still be at the server, and would be applied as soon
// as somebody else used their predecessor's number: therefore the rest goes on in a new session.
//
// Thread-compatible.
class TrainWindow {
 public:
  TrainWindow() : session_(Id128::Random()) {}

  bool empty() const { return steps_.empty(); }
  size_t size() const { return steps_.size(); }
  size_t unknown() const { return unknown_; }
  size_t written() const { return written_; }
  const PipelinedStepPtr& oldest() const { return steps_.front(); }
  MutationId oldest_id() const { return {session_, number_}; }

  void Push(PipelinedStepPtr step) { steps_.push_back(std::move(step)); }
  // The oldest that is not on the stream, with session and number filled in; null: all are. `turn_seen` is
  // one that the client knows, sent when the session opens.
  PipelinedStepPtr NextToWrite(uint64_t turn_seen);

  // The oldest was answered. Requires: written() > 0.
  PipelinedStepPtr Answered();
  // The stream is gone. `unknown`: what was on it may have been applied.
  void StreamEnded(bool unknown);
  // What was unknown was not applied after all, and so nothing behind it either.
  void OldestIsSurelyNotApplied() { unknown_ = 0; }
  // The oldest is given up, and was surely not applied. Requires: unknown() == 0, after StreamEnded.
  PipelinedStepPtr DropRefused();
  // All, for good or for PutBack; of these the oldest unknown() may have been applied, now or later: copies
  // count where anything is unknown.
  std::vector<PipelinedStepPtr> TakeAll();
  // The oldest of what TakeAll took, when they may have been applied. Requires: empty().
  void PutBack(std::vector<PipelinedStepPtr> steps);
  // The server does not know the session, and nothing of it is unknown.
  void NewSession();

 private:
  std::deque<PipelinedStepPtr> steps_;
  Id128 session_;
  uint64_t number_ = 1;                   // of steps_.front()
  std::optional<uint64_t> opened_after_;  // chosen with the first sending, the same in every retry
  size_t written_ = 0;
  size_t unknown_ = 0;
  size_t copies_ = 0;  // the oldest so many of steps_ were sent in this session: copies may be on their way
};

}  // namespace evoke::client
