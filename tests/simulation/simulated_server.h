// A server that serves one memory on a simulated disk, dies at any moment, and comes back.
//
// Everything from MemoryExecutor down is the real code; under it are the world's schedulers and clock and the
// disk. A process that died runs on until it has nothing left to do (its strands hold what they hold), but
// nothing that it does reaches the disk or a client. Thread-compatible.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "server/engine/memory_executor.h"
#include "tests/simulation/call.h"
#include "tests/simulation/history.h"
#include "tests/simulation/judge.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/simulation/virtual_world.h"

namespace evoke::testing {

class SimulatedServer {
 public:
  // Where it may die with a meaning of its own: at each TurnEdge, in their order, then in the store.
  static constexpr const char* kPlacesOfDeath[] = {
      "admitted",           "proposed",       "reads known",   "deciding",         "decided",
      "committing",         "applied",        "committed",     "acknowledged",     "failed",
      "commit not written", "commit written", "commit synced", "opening the store"};

  struct Options {
    MemorySpec spec;
    MemoryUid uid;
    int deaths_per_10000 = 0;      // at each edge of a turn, and inside commits
    absl::Duration compute_delay;  // at most; of every piece of work
    absl::Duration io_delay;
  };
  // All must outlive it.
  SimulatedServer(Options options, VirtualWorld* world, SimulatedDisk* disk, History* history);
  ~SimulatedServer();

  // Requires: none is running.
  void Start(const EngineOptions& engine);
  // The process is gone at once; with it, if the power fails, what the disk had not synced.
  void Kill(const char* why, bool power_fails);
  // Drains and closes; the process is gone when that is done.
  void ShutDown();
  // After every piece of work: clears away a process that has died in it.
  void Settle();

  bool running() const { return executor_ != nullptr; }
  MemoryState state() const { return executor_ ? executor_->figures().state : MemoryState::kFailed; }
  size_t unanswered() const { return unanswered_; }
  // How often it died, and where: a TurnEdge, a place inside a commit, or by whom.
  const std::map<std::string, uint64_t>& deaths() const { return deaths_; }
  uint64_t lost_turns() const { return lost_turns_; }  // written, and not left when the power had failed
  void set_deaths_per_10000(int deaths) { options_.deaths_per_10000 = deaths; }

  // Hands a call to the process; the answer leaves it unless it dies before. A server that is not running is
  // silent.
  using Reply = std::function<void(Answer)>;
  void Deliver(std::shared_ptr<Call> call, Reply reply);

 private:
  class ProcessScheduler;
  class ProcessClock;
  struct Process;  // its schedulers and its clock

  Task TaskOf(const std::shared_ptr<Call>& call, const Reply& reply);
  // Wraps what happens when a call is answered: judged once, by the living.
  template <typename T>
  std::function<void(absl::StatusOr<T>)> Answered(
      const std::shared_ptr<Call>& call, const Reply& reply,
      std::function<void(const absl::StatusOr<T>&, Answer*)> judge);
  void StateChanged();
  void Bury();

  Options options_;
  VirtualWorld* const world_;
  SimulatedDisk* const disk_;
  History* const history_;
  Judge judge_;
  uint64_t next_owner_ = 1;
  std::unique_ptr<Process> process_;
  std::shared_ptr<Life> life_;  // of process_
  std::shared_ptr<MemoryExecutor> executor_;
  bool stopped_ = false;  // an orderly end: nothing may be left unanswered
  bool power_fails_ = false;
  size_t unanswered_ = 0;
  std::map<std::string, uint64_t> deaths_;
  uint64_t lost_turns_ = 0;
};

}  // namespace evoke::testing
