// What a server may answer: every reply and every refusal beside the history, at the moment when it leaves.
//
// An acknowledged mutation is in the written history, with these very bytes, and durable where the memory
// syncs. A read is the oracle's at a turn that is written and not before one that anybody was told of when it
// was sent. A refusal is one that the sessions justify at some moment while the request was there.
// Thread-compatible.
#pragma once

#include <deque>

#include "absl/status/statusor.h"
#include "server/engine/executor.h"
#include "tests/simulation/history.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/simulation/virtual_world.h"

namespace evoke::testing {

class Judge {
 public:
  // All must outlive it.
  Judge(const VirtualWorld* world, const SimulatedDisk* disk, History* history, uint32_t key_dim)
      : world_(world), disk_(disk), history_(history), key_dim_(key_dim) {}

  // A process began, in which so many turns may be under way.
  void Started(size_t turns_in_flight);
  // Tasks of a turn were looked at just now.
  void TurnBegan();
  // A memory that closes tells what waits for a turn at once.
  void set_stopping(bool stopping) { stopping_ = stopping; }

  // `state`: of the memory when the answer leaves.
  void Mutation(const Call& call, const absl::StatusOr<std::string>& answer, MemoryState state);
  void Query(const Call& call, const absl::StatusOr<QueryReply>& answer);
  void Score(const Call& call, const absl::StatusOr<std::string>& answer);
  void Slots(const Call& call, const absl::StatusOr<SlotsReply>& answer);
  void Inspect(const Call& call, const absl::StatusOr<InspectReply>& answer);
  // A memory that has just been recovered.
  void Recovered(const MemoryFigures& figures);

 private:
  // The state that a read reflects; null when it may not reflect that one.
  const History::State* Reflected(const Call& call, const StateName& name);
  void Refusal(const Call& call, const absl::Status& status);
  void InTime(const Call& call) const;

  const VirtualWorld* const world_;
  const SimulatedDisk* const disk_;
  History* const history_;
  const uint32_t key_dim_;
  bool stopping_ = false;
  size_t turns_in_flight_ = 1;
  std::deque<absl::Time> turns_began_;  // the last ones, as many as may be under way: what is answered is of one of them
  uint64_t recovered_turn_ = 0;
  uint64_t turn_before_ = 0;  // that everybody could know of when a turn began last
};

// The reason of a status, or the name of its code where it has none.
std::string ReasonOf(const absl::Status& status);
// All slots of a memory, and two of the values, are what a kSlots call asks for.
SlotsCall AllSlots(uint64_t capacity);

}  // namespace evoke::testing
