// The executor of a memory in this process: mailbox, turns, reload after a failed commit. Contract: executor.h.
//
// A memory whose disk refuses writes is read-only, and comes back by itself: every 1 to 30 s the disk is tried, and
// when it takes writes the store is opened for them, between two turns. Until that succeeds readers keep what they have.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/engine/disk_guard.h"
#include "server/engine/engine.h"
#include "server/engine/executor.h"
#include "server/engine/mailbox.h"
#include "server/engine/recovery.h"
#include "server/engine/self_audit.h"
#include "storage/slot_store.h"
#include "storage/turn_log.h"

namespace evoke {

class MemoryExecutor final : public Executor {
 public:
  struct Options {
    std::string name;
    MemoryUid uid;
    MemorySpec spec;
    EngineOptions engine;
    Scheduler* compute = nullptr;  // these three must outlive the executor
    Scheduler* io = nullptr;
    Clock* clock = nullptr;
    size_t cores = 1;              // threads of `compute`
    bool always_overlap = false;   // tests: whatever Pace says
    // Opens the store; called again after a failed commit.
    std::function<absl::StatusOr<std::unique_ptr<SlotStore>>(bool read_only)> open_store;
    std::shared_ptr<DiskGuard> disk;     // null: nothing of this memory is on a disk
    std::unique_ptr<EngineProbe> probe;  // may be null
    std::function<void()> on_state_change;
  };
  static std::shared_ptr<MemoryExecutor> Create(Options options);

  // Opens the store and recovers; the memory then serves, or is FAILED. Blocks: for a thread that may.
  void Recover();

  void Submit(Task task) override;
  const std::string& name() const override { return options_.name; }
  const MemoryUid& uid() const override { return options_.uid; }
  const MemorySpec& spec() const override { return options_.spec; }
  MemoryFigures figures() const override;
  StoreFigures store_figures() const override;
  void ReplaceStore(Replacement replacement) override;
  void OnSnapshot(const SnapshotReport& report) override;
  void StopMutations() override;
  void Close(absl::Status why, std::function<void()> done) override;

 private:
  explicit MemoryExecutor(Options options);

  static absl::Status Draining();
  // What a task is refused with before it enters the mailbox; OK: it may.
  absl::Status Refusal(const Task& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  struct Refused {
    Task task;
    absl::Status why;
  };
  void PumpSoon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PumpAgain();
  void Pump(uint64_t life);
  // What a Pump is to do: at most one of all this.
  struct Work {
    std::vector<Refused> refused;
    std::vector<Task> turn;
    std::optional<Replacement> replacement;
    bool reopen = false, refresh = false, audit = false;
  };
  Work TakeWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the next turn's tasks; those that must not enter one go to `refused`.
  std::vector<Task> TakeTurn(std::vector<Refused>* refused) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MayGoOn();
  // A turn that is not done.
  struct Turning {
    uint64_t rows = 0;
    bool writes = false;
    absl::Time began;
    absl::Time went_on;  // the next one might begin
  };
  // What turns took of late. Two halves of a batch beside each other's commits are slower than one batch after the other
  // when the commit is what takes the time, for whoever is in one commit waits for another's first.
  struct Pace {
    absl::Duration row;     // of a turn, up to its commit
    absl::Duration commit;  // what is left of it then
  };
  // Whether another turn may begin beside those in flight.
  bool MayBegin() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TurnDone(const absl::Status& status);
  void Reload(const absl::Status& why);
  // Answers what waits, and lets nothing enter a turn until there is another state.
  void StopServing(MemoryState state, const absl::Status& why);
  void Replace(Replacement replacement);
  absl::StatusOr<MetaRow> LastMeta();
  // Recovers to serving when `writable` is OK and the store opens, else to reading.
  void RecoverIf(absl::Status writable);
  absl::Status OpenAndRecover(bool read_only);
  // The way back to writing: a timer, a look at the disk, and between two turns another open.
  void ReopenLater();
  void TryReopen();
  void Reopen();
  void SetState(MemoryState state, absl::Status why);
  void Publish();
  void RefreshFigures();
  void Audit();
  void GrantAuditEverySecond();
  void AwaitTurn(Task task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ExpireWaiting();
  void MaybeClosed();

  Options options_;  // constant after construction
  Strand strand_;
  RecoveryProgress progress_;

  mutable Mutex mu_;
  MemoryState state_ ABSL_GUARDED_BY(mu_) = MemoryState::kLoading;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
  Mailbox mailbox_ ABSL_GUARDED_BY(mu_);            // parked in it: what waits for its min_turn
  // A Pump is posted, or a turn is at hand, or what only runs alone; or the store was given back.
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Turning> in_flight_ ABSL_GUARDED_BY(mu_);  // turns that are not done, the one at hand among them
  Pace pace_ ABSL_GUARDED_BY(mu_);
  bool drain_ ABSL_GUARDED_BY(mu_) = false;         // something waits to run alone: no turn begins before none is in flight
  uint64_t life_ ABSL_GUARDED_BY(mu_) = 0;          // counts the states that were thrown away; a Pump belongs to one
  bool mutations_stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);        // not OK: what new tasks are refused with
  std::function<void()> on_closed_ ABSL_GUARDED_BY(mu_);
  std::optional<Replacement> replacement_ ABSL_GUARDED_BY(mu_);  // waits for the turn under way
  MemoryFigures figures_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const StoreMeter> meter_ ABSL_GUARDED_BY(mu_);  // of store_
  bool refresh_due_ ABSL_GUARDED_BY(mu_) = false;     // a timer will want one
  bool refresh_wanted_ ABSL_GUARDED_BY(mu_) = false;  // before the next turn
  bool reopen_wanted_ ABSL_GUARDED_BY(mu_) = false;   // as above
  absl::Duration reopen_after_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();

  bool audit_granted_ ABSL_GUARDED_BY(mu_) = false;   // a second has passed since the last grant

  SelfAudit audit_;            // strand only
  bool audit_was_last_ = false;  // strand only: turns and slices alternate when both are due

  // Strand only, and the recovering thread while `state_` is kLoading.
  std::unique_ptr<SlotStore> reopened_;  // what the next recovery takes instead of opening one
  std::unique_ptr<SlotStore> store_;
  std::unique_ptr<TurnLog> log_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace evoke
