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
    kRetryStored,  // its reply is in the store
    kObserve,      // mutations: kept in arrival order
    kClear,
    kImport,
    kRetryInTurn,  // another task of this turn makes its reply
  };
  struct Item {
    Task task;
    Kind kind = Kind::kAnswered;
    std::vector<uint32_t> view_row;   // [rows] index into `rows`; BatchRows::kSkipped where skip is set
    std::unique_ptr<BatchPlan> plan;  // kReadObserve, kObserve
    bool resolved = false;            // read or plan is complete
    std::string reply;                // of a mutation, encoded
    QueryReply query;                 // kQuery, while payloads are read
    SlotsReply slots;                 // kSlots
    std::vector<SlotContent> fetched;  // kSlots, kImport: those of its slots that are live
    std::vector<uint64_t> free;        // kImport: the lowest free slots
  };

  std::vector<Item> items;
  Done done;
  Turn turn;  // that a commit makes
  absl::Time began;
  std::shared_ptr<PackedRows> rows = std::make_shared<PackedRows>();
  ProposeRequest request;  // the first one
  absl::flat_hash_set<int64_t> counted;  // values whose counts were asked for
  std::unique_ptr<TurnView> view;
  std::vector<SessionOp> ops;
  std::shared_ptr<TurnRecord> record;
  Hash128 chain;    // after the record
  Effects effects;  // of the record
  std::vector<std::vector<ValueCount>> late_counts;  // of evicted values, asked for while the commit is under way

  Next next = nullptr;
  size_t outstanding = 0;
  absl::Status error;
  Phase phase = Phase::kPropose;
  absl::Time phase_began;
  TurnReport report;

  bool mutates() const {
    for (const Item& item : items) {
      if (item.kind == Kind::kObserve || item.kind == Kind::kClear || item.kind == Kind::kImport) return true;
    }
    return false;
  }
};

// `take` gets the answer on the strand, in any order with others; the step that Begin named follows the last.
template <typename T, typename Take>
Shard::Done<T> Engine::Expect(Take take) {
  ++work_->outstanding;
  return [this, take = std::move(take)](absl::StatusOr<T> answer) mutable {
    auto shared = std::make_shared<absl::StatusOr<T>>(std::move(answer));
    strand_->Post([this, take = std::move(take), shared]() mutable {
      if (shared->ok()) take(*std::move(*shared));
      Arrived(shared->status());
    });
  };
}

}  // namespace evoke
