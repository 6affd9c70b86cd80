// The turn: what a memory does with a handful of tasks, as a state machine; and the pipeline of turns.
//
//   admit -> propose -> answer reads -> decide <-> more / fetch -> hand over -> apply    one turn at a time
//                                                                       \-> commit -> reply    several, in order
//
// RunTurn admits the tasks in arrival order, packs their rows, and asks all shards once. Reads are answered from the
// state at the turn's start; mutations are decided in arrival order, each on what the earlier ones left, and become one
// TurnRecord, which is handed to the log. Then, while its commit syncs, the record is applied to the shards, and the next
// turn may begin. Steps are driven by completions: nothing waits on a stack, so a slow shard, a lost one and a simulated
// one are the same code.
//
// So shards, sessions and numbers run ahead of the disk, and nobody may know: what a turn answers leaves when every turn
// before it is durable (a mutation's reply: it too), what it reads of the store is read then, and state() tells the last
// turn that is durable. (server/README.md, "The turn", has the argument.)
//
// Owns shards, sessions and the numbers of the memory; holds no state of single slots beyond the turns at hand.
// Threads: memory's strand only; completions from elsewhere are posted to it.
// Failure: when `done` gets an error the memory's durable state is unknown and the engine must be thrown away and
// recovered; every task of a turn that was not durable was answered with UNAVAILABLE / COMMIT_UNKNOWN.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/thread_pool.h"
#include "server/engine/engine_probe.h"
#include "server/engine/executor.h"
#include "server/engine/sessions.h"
#include "server/engine/shard_set.h"
#include "server/engine/task.h"
#include "server/memory/batch_plan.h"
#include "server/memory/turn_view.h"
#include "storage/slot_store.h"
#include "storage/turn_log.h"

namespace evoke {

// The numbers that name a memory's state.
struct EngineState {
  StateName name;
  Hash128 chain;
  Hash128 state_hash;
  uint64_t live_count = 0;
  uint64_t distinct_values = 0;
  size_t sessions = 0;
};

class Engine {
 public:
  struct Parts {
    MemorySpec spec;
    EngineOptions options;
    EngineState state;                  // as recovered
    std::unique_ptr<ShardSet> shards;   // applied up to state.name.turn
    Sessions sessions;
    SlotStore* store = nullptr;         // for payloads and stored replies; must outlive the engine
    TurnLog* log = nullptr;             // must outlive the engine
    Strand* strand = nullptr;           // the memory's
    Scheduler* io = nullptr;            // for reads of the store that may block
    Clock* clock = nullptr;
    EngineProbe* probe = nullptr;       // may be null
  };
  explicit Engine(Parts parts);
  ~Engine();

  // Runs one turn. `next` on the strand when another one may begin, `done` when this one and all before it are durable
  // and applied; turns are done in their order. An error is told once, by the oldest turn that is not done, when nothing
  // of any of them is under way; then no other callback runs. What is Task::alone must be.
  // Requires: no turn is between RunTurn and `next`; fewer than max_sessions mutations; all rows have the spec's key_dim.
  using Next = std::function<void()>;
  using Done = std::function<void(absl::Status)>;
  void RunTurn(std::vector<Task> tasks, Next next, Done done);

  // After the last turn that is done.
  const EngineState& state() const { return durable_; }
  size_t shard_count() const { return shards_->count(); }
  void Figures(Shard::Done<std::vector<ShardFigures>> done) { shards_->Figures(std::move(done)); }
  // Compares a slice as of the last turn. Requires: every turn is done.
  void Audit(AuditRequest request, Shard::Done<AuditAnswer> done);

 private:
  struct TurnWork;
  using Stage = void (Engine::*)();

  // The steps, in order. Each ends by naming the next one in Begin, and Ready.
  void AdmitAll();
  void PackAndPropose();
  void AnswerReads();
  void SendReads();
  void Decide();
  void HandOver();
  void Applied();

  // The pipeline.
  void Leave();  // the turn at hand becomes the last one in flight
  void Logged(TurnWork* turn, const absl::Status& status);
  void Acknowledge(TurnWork* turn);
  // Lets go what waited for durable turns; fails everything when something failed and nothing is under way any more.
  // From its return on this engine may be gone.
  void Settle();
  void Fail(const absl::Status& why);
  // Runs `answer` when all turns before the one at hand are durable.
  void Tell(std::function<void()> answer);
  // The same for what only reads; where this turn commits something, answers are built while it does.
  void TellInCommit(std::function<void()> answer);
  void TellReads();  // those that TellInCommit kept

  bool Admit(size_t index);
  bool AdmitMutation(size_t index, const MutationId& mutation);
  void PackRows(uint32_t neighbors, RowSet* rows, std::vector<uint32_t>* view_row);
  void AskSlots(size_t index, const SlotsCall& call);
  void AskShards(const Need& need, Stage then);
  bool AnswerQuery(size_t index, Need* need);
  void SendQuery(size_t index);
  void SendSlots(size_t index);
  void SendReader(size_t index);
  void SendStored(size_t index);
  void ReadPayloads(size_t index, std::vector<SlotPayloads> slots,
                    std::function<void(std::vector<SlotPayloads>)> take);
  bool ResolvePlan(size_t index, Need* need);
  void BuildRecord();
  void WriteSlots();
  void ClearAll(size_t index);
  void AskImport(size_t index, const ImportCall& call);
  bool AdmitImport(size_t index);
  absl::Status CheckImport(size_t index) const;
  void ImportRows(size_t index);
  void CountEvicted();
  void TakeState();
  void TakeMerged(const ProposeRequest& request, std::vector<Proposal> proposals);
  void Report(TurnWork* turn);
  void TellIfSlow(const TurnWork& turn) const;
  ReadPoint ShardPoint() const;
  StateName NameAfter(Step step) const;
  void At(TurnEdge edge) const {
    if (options_.at_edge) options_.at_edge(edge);
  }
  uint32_t Ask(uint32_t count) const { return options_.ask_one_at_a_time ? std::min(count, 1u) : count; }

  // Counts completions that are under way; the stage `next` runs on the strand when all have come.
  void Begin(Stage next, Phase phase);
  template <typename T, typename Take>
  Shard::Done<T> Expect(Take take);
  std::function<void(absl::Status)> ExpectStatus();
  void Arrived(const absl::Status& status);
  void Ready();

  // Constant.
  const MemorySpec spec_;
  const EngineOptions options_;
  const std::unique_ptr<ShardSet> shards_;
  SlotStore* const store_;
  TurnLog* const log_;
  Strand* const strand_;
  Scheduler* const io_;
  Clock* const clock_;
  EngineProbe* const probe_;
  // Strand only.
  EngineState state_;    // after the last turn handed over
  EngineState durable_;  // after the last turn done
  Sessions sessions_;    // as state_
  Turn shards_turn_;     // that the shards are told to apply
  struct Unapplied {
    std::shared_ptr<const TurnRecord> record;
    Effects effects;
  };
  std::deque<Unapplied> unapplied_;  // handed over, not told to the shards: more than none only with apply_lag_turns
  std::unique_ptr<TurnWork> work_;   // the turn at hand; null between `next` and RunTurn
  std::deque<std::unique_ptr<TurnWork>> in_flight_;  // behind `next`, not done; the oldest first
  absl::Status failed_;              // of the first commit that failed
};

}  // namespace evoke
