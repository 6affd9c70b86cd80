// Whether a server under load kept its promises: nothing lost, nothing applied twice, nothing seen going
// back.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/load/step_ranges.h"
#include "evoke/v1/types.pb.h"

namespace evoke::load {

// Sees every reply of a run. What it demands (semantics.md, "Exactly once"):
//   - every reply is of a turn not before any mutation that was acknowledged before the call was sent;
//   - of one session, steps and turns of acknowledged mutations grow strictly;
//   - a mutation of n rows owns n steps of its own: none is ever given to two mutations;
//   - at the end the memory went exactly as many steps as were acknowledged, unless others write too;
//   - the last mutation of every session, sent again, is answered with the reply that it got.
//
// Thread-safe.
class Judge {
 public:
  struct Options {
    uint64_t epoch = 1;
    uint64_t step = 0;    // of the memory when the run began
    bool shared = false;  // others write to it too
  };
  explicit Judge(const Options& options) : options_(options) {}

  // The last acknowledged mutation of a session; all zeros: none yet.
  struct SessionState {
    uint64_t turn = 0;
    uint64_t step = 0;
  };

  // Highest turn that was acknowledged so far; to be noted before a call is sent.
  uint64_t acknowledged_turn() const { return acknowledged_turn_.load(std::memory_order_acquire); }

  // A read that was sent when `turn_before` was acknowledged.
  void OnRead(const v1::ReplyHeader& header, uint64_t turn_before);
  // A mutation of `rows` rows, all of which write. `session` becomes its state.
  void OnMutation(const v1::ReplyHeader& header, uint64_t rows, uint64_t turn_before, SessionState* session);
  // A reply, or an error, that no server may give; `what` says to whom and why.
  void OnViolation(std::string what);
  // A mutation of which it is not known, to the end, whether it was applied.
  void OnUnresolved(uint64_t rows);
  // The last mutation of a session was sent again.
  void OnReplay(bool same_reply, const std::string& what);
  // The state when nothing is under way any more. Once, last.
  void OnEnd(uint64_t epoch, uint64_t step);

  struct Verdict {
    uint64_t mutations = 0;  // acknowledged
    uint64_t reads = 0;
    uint64_t steps_acknowledged = 0;
    std::optional<uint64_t> steps_of_memory;  // from the beginning to the end
    uint64_t unresolved_mutations = 0;
    uint64_t replays = 0;  // answered
    uint64_t violation_count = 0;
    std::vector<std::string> violations;  // the first of them

    bool kept() const { return violation_count == 0; }
  };
  Verdict verdict() const;

 private:
  void CheckHeader(const v1::ReplyHeader& header, uint64_t turn_before) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddViolation(std::string what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  std::atomic<uint64_t> acknowledged_turn_ = 0;
  mutable absl::Mutex mu_;
  StepRanges steps_ ABSL_GUARDED_BY(mu_);
  uint64_t unresolved_rows_ ABSL_GUARDED_BY(mu_) = 0;
  Verdict verdict_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::load
