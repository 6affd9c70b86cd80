// What the engine holds while a turn is under way. Internal to engine*.cc.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "server/engine/engine.h"

namespace evoke {

struct Engine::TurnWork {
  // What is to be done with a task; decided once, by Admit.
  enum class Kind {
    kAnswered,  // refused, or answered already
    kQuery,
    kReadObserve,  // labelled rows of which none writes
    kSlots,
    kReader,       // gets the store as it is at the turn's start
    kInspect,
    kRetryStored,  // its reply is in the store
    kObserve,      // mutations: kept in arrival order
    kClear,
    kImport,
    kRetryInTurn,  // another task of this turn makes its reply
    kRefused,      // for what an earlier mutation of this turn does: not to be told before that is durable
  };
  struct Item {
    Task task;
    Kind kind = Kind::kAnswered;
    std::vector<uint32_t> view_row;   // [rows] index into `rows`; BatchRows::kSkipped where skip is set
    std::unique_ptr<BatchPlan> plan;  // kReadObserve, kObserve
    bool resolved = false;            // read or plan is complete
    std::string reply;                // of a mutation, encoded
    absl::Status refusal;             // kRefused
    QueryReply query;                 // kQuery, while payloads are read
    SlotsReply slots;                 // kSlots
    std::vector<SlotContent> fetched;  // kSlots, kImport: those of its slots that are live
    std::vector<uint64_t> free;        // kImport: the lowest free slots
  };

  std::vector<Item> items;
  Next next_turn;
  Done done;
  Turn turn;  // that a commit makes
  absl::Time began;
  std::shared_ptr<PackedRows> rows = std::make_shared<PackedRows>();
  ProposeRequest request;  // the first one
  absl::flat_hash_set<int64_t> counted;  // values whose counts were asked for
  std::unique_ptr<TurnView> view;
  bool admitted = false;  // some mutation was: sessions are ahead of the disk
  std::vector<SessionOp> ops;
  std::shared_ptr<TurnRecord> record;
  Hash128 chain;    // after the record
  Effects effects;  // of the record
  std::vector<std::vector<ValueCount>> late_counts;  // of evicted values, asked for while the commit is under way

  std::vector<std::function<void()>> reads;  // answers that wait until the commit is under way
  std::vector<std::function<void()>> held;  // answers that wait for the turns before this one
  bool waits = false;    // ... and so does SendReads: it reads the store
  bool stuck = false;    // something failed, and nothing of this turn is under way but perhaps its commit
  bool logged = true;    // its commit, if it has one, has ended
  absl::Time handed_over;
  EngineState after;     // once in flight

  Stage next = nullptr;
  size_t outstanding = 0;
  absl::Status error;
  Phase phase = Phase::kPropose;
  absl::Time phase_began;
  TurnReport report;

  // Whether an answer is read from the store, which must be at the turn's start then.
  bool reads_store() const {
    for (const Item& item : items) {
      if (item.kind == Kind::kReader || item.kind == Kind::kRetryStored) return true;
      const auto* query = std::get_if<QueryCall>(&item.task.call);
      if (item.kind == Kind::kQuery && query->payloads) return true;
      const auto* slots = std::get_if<SlotsCall>(&item.task.call);
      if (item.kind == Kind::kSlots && slots->payloads) return true;
    }
    return false;
  }
  bool mutates() const {
    for (const Item& item : items) {
      if (item.kind == Kind::kObserve || item.kind == Kind::kClear || item.kind == Kind::kImport) return true;
    }
    return false;
  }
};

// `take` gets the answer on the strand, in any order with others; the stage that Begin named follows the last.
template <typename T, typename Take>
Shard::Done<T> Engine::Expect(Take take) {
  ++work_->outstanding;
  return [this, take = std::move(take)](absl::StatusOr<T> answer) mutable {
    auto shared = std::make_shared<absl::StatusOr<T>>(std::move(answer));
    strand_->PostLast([this, take = std::move(take), shared]() mutable {
      if (shared->ok()) take(*std::move(*shared));
      Arrived(shared->status());
    });
  };
}

}  // namespace evoke
