// A caller with at most one call under way: what it asks, how it repeats it, and what became of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/load/clock.h"
#include "client/load/judge.h"
#include "client/load/measurements.h"
#include "client/load/options.h"
#include "client/load/row_source.h"
#include "client/load/target.h"
#include "evoke/session_pool.h"

namespace evoke::load {

// What all lanes of a run share; everything in it outlives them.
struct LaneContext {
  std::string memory;
  std::string uid;  // raw
  WorkloadOptions workload;
  bool shed = false;
  absl::Duration deadline;  // of a call, its retries and waits included
  client::RetryPolicy retry;
  uint64_t seed = 0;
  uint64_t turn = 0;  // of the memory when the run began: sessions are opened after it
  const RowSource* rows = nullptr;
  Target* target = nullptr;
  Judge* judge = nullptr;
  Clock* clock = nullptr;
  const std::atomic<bool>* abandoned = nullptr;  // set: nothing is sent again
};

// Its mutations are numbered in a session of its own. A mutation whose outcome is not known is sent again,
// past its deadline too, until the server tells, or the run is abandoned: only so can the judge count.
//
// Which calls come, and their rows, is a function of seed and lane. Thread-compatible: whoever drives it
// (driver.h) hands it from one thread to the next.
class Lane {
 public:
  // `index` counts all lanes; `recorder` is its connection's, and outlives it.
  Lane(const LaneContext& context, int index, int connection, Recorder* recorder);

  // Takes up a call that was due at `due`, from which its latency counts; nullopt: from when it is sent, as
  // of a caller who makes his next request when he has the last reply. Requires: none is under way.
  void Begin(std::optional<absl::Time> due);
  // Makes an attempt. The target calls `done` (target.h), whose status is for OnReply.
  void Send(Target::Done done);
  // Returns: when to Send again; nullopt: the call has ended, and was recorded.
  std::optional<absl::Time> OnReply(const absl::Status& status);
  // Ends a call that waits to be sent again.
  void GiveUp();

  // Sends the last acknowledged mutation again and tells the judge whether the reply is the one that it had.
  // Blocks. An error when the server did not answer; OK too when there is none.
  absl::Status Replay();

  int connection() const { return connection_; }

 private:
  void Build(Method method);
  void FillMutation();
  void OnSuccess(absl::Time now);
  void Fail();
  std::string SessionText() const;

  const LaneContext& context_;
  const uint64_t stream_;
  const int connection_;
  Recorder* const recorder_;
  client::SessionPool sessions_;  // of one session, or the next when the server has forgotten it
  Judge::SessionState session_state_;
  uint64_t calls_ = 0;
  uint64_t rows_ = 0;

  // Of the call under way:
  std::unique_ptr<Call> call_;
  std::optional<client::SessionPool::Lease> lease_;  // of a mutation
  absl::Time due_;
  absl::Time begun_;
  uint64_t turn_before_ = 0;
  int attempts_ = 0;
  bool outcome_unknown_ = false;

  std::unique_ptr<Call> last_;  // the last acknowledged mutation, as it was sent and answered
  bool has_last_ = false;
};

}  // namespace evoke::load
