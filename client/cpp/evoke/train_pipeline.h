// Train steps of one trainer, many on the way at a time, applied in the order in which they were submitted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "evoke/memory.h"
#include "evoke/requests.h"

namespace evoke::client {

class TrainStreamCore;

struct TrainPipelineOptions {
  // Steps that may be unanswered; Submit waits beyond. 1 to the server's Limits::max_unacknowledged, 16
  // unless it was configured: more are refused with RESOURCE_EXHAUSTED / UNACKNOWLEDGED_LIMIT.
  uint32_t window = 16;
  std::optional<absl::Duration> deadline;  // of each step, from Submit to its answer, all attempts together;
                                           // absent: ClientOptions::deadline
  std::optional<uint64_t> epoch;           // refuse (STALE_MEMORY) when the content was cleared since
};

// A session of its own over TrainStream: while the server commits one step it searches for the next, and
// nobody waits for a round trip.
//
//   auto pipeline = TrainPipeline::Create(memory);
//   Future<TrainStepResult> first = (*pipeline)->Submit(...), second = (*pipeline)->Submit(...);
//   first.get();                      // results become ready in the order of Submit
//   (*pipeline)->Drain();
//
// Steps are applied in the order of Submit, each exactly once if its result is OK. A connection that is lost,
// a server that restarts or asks for patience: the steps on the way are sent again under their numbers
// (retry_policy.h), and nobody notices but by the time it takes.
//
// Failure. A step that the server refuses (a NaN, too many rows) fails alone: it was not applied, the later
// ones are. When a step's outcome cannot be found out before its deadline, no later step can go on in order:
// it and those that were on the way end with ErrorDetails::outcome_unknown, the others with ABORTED (not
// applied); later Submits get FAILED_PRECONDITION until Resume finds out. A restore in place ends a pipeline for
// good: make another.
//
// Thread-safe; the order of Submit is that of its calls. Completions run one after another, in order, on a
// thread of gRPC. Needs neither the Memory nor the Client to live on. Holds the requests of its window.
class TrainPipeline {
 public:
  // INVALID_ARGUMENT for options out of bounds. Makes no contact.
  static absl::StatusOr<std::unique_ptr<TrainPipeline>> Create(const Memory& memory,
                                                               const TrainPipelineOptions& options = {});

  // Gives up what is unanswered: those steps end with CANCELLED, with outcome_unknown where they were on the
  // way. Returns when their completions have run (but does not wait inside a completion); soon, for it waits
  // for no server. Drain first to lose nothing.
  ~TrainPipeline();

  // Waits while the window is full, but not inside a completion. `request`'s arrays are free when it returns.
  // At least one row must write (INVALID_ARGUMENT / BAD_ARGUMENT: such a step is a read, Memory has it).
  Future<TrainStepResult> Submit(const TrainStepRequest& request);
  void Submit(const TrainStepRequest& request, Completion<TrainStepResult> done);

  // Until the completions of all submitted steps have run. OK, or why later Submits are refused. Must not be
  // called inside a completion.
  absl::Status Drain();

  // Asks again for all steps that ended with outcome_unknown, under their numbers and with a new deadline:
  // each is applied once in either case. Their new results, oldest first; Submit works again.
  // FAILED_PRECONDITION when nothing is unknown, or the server forgot the session that could tell: then
  // another pipeline has to be made.
  absl::StatusOr<std::vector<Future<TrainStepResult>>> Resume();

  // Steps submitted and not yet answered.
  size_t unanswered() const;

 private:
  explicit TrainPipeline(std::shared_ptr<TrainStreamCore> core) : core_(std::move(core)) {}

  const std::shared_ptr<TrainStreamCore> core_;
};

}  // namespace evoke::client
