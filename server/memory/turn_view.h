// All that a decision may look at: what the shards proposed, under the writes that the shards do not have yet.
//
// The base is the state at the turn's read point, as far as the shards told it, each list with its bound. Over it lie
// the writes of turns that are committed but not applied, and of the earlier batches and rows of this turn. A
// question that what is known cannot settle is not guessed: the method writes what is missing into `need` and
// returns false; the engine asks the shards, adds to the view, and the question is put again.
//
// Threads: the memory's strand only. Pointers that it returns are valid until the next Write of that slot.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "server/memory/memory_spec.h"
#include "server/memory/outcome.h"
#include "server/memory/slot.h"

namespace evoke {

// What the shards must still tell. Counts are of the merged lists.
struct Need {
  struct OfRow {
    uint32_t row = 0;
    uint32_t count = 0;
  };
  std::vector<OfRow> neighbors;
  std::vector<OfRow> of_label;
  std::vector<uint64_t> fetch;  // slots whose keys and states are wanted
  uint32_t oldest = 0;
  uint32_t free = 0;
  bool empty() const {
    return neighbors.empty() && of_label.empty() && fetch.empty() && oldest == 0 && free == 0;
  }
};

// What the shards told of one row, merged: only entries that are certain.
struct MergedRow {
  std::vector<ScoredSlot> neighbors;
  Bound bound;
  uint32_t asked = 0;                // for so many neighbors
  std::vector<ScoredSlot> of_label;  // newest first
  bool of_label_complete = true;
  uint32_t of_label_asked = 0;
};

// A slot as the turn leaves it so far.
struct PendingPayload {
  uint16_t place = 0;
  uint64_t step = 0;
  std::string bytes;
};
struct PendingSlot {
  Outcome outcome = Outcome::kFree;  // of the last observation that wrote it
  int64_t value = 0;
  uint64_t written_step = 0;
  uint32_t hits = 0;
  std::vector<float> key;
  std::vector<PendingPayload> payloads;
  bool this_turn = true;             // false: of a turn that is committed but not applied
  uint64_t batch = 0;                // which batch of this turn wrote it last
  Hash128 hash_before;               // its term of the state hash before this turn; zero if it was free
};

// All that a turn changes, as the next turn's view needs it.
struct Effects {
  absl::flat_hash_map<uint64_t, PendingSlot> slots;
  int64_t live_delta = 0;
  absl::flat_hash_map<int64_t, std::pair<int64_t, int64_t>> count_deltas;  // value -> live slots, observations
};

class TurnView {
 public:
  TurnView(const MemorySpec* spec, absl::Span<const float> rows, Step step)
      : spec_(spec), rows_(rows), step_(step.value) {}

  // --- what the shards told ---
  void SetLive(uint64_t live) { base_live_ = live; }
  void SetRow(uint32_t row, MergedRow merged);  // what was not asked for stays as it was
  void SetOldest(std::vector<SlotState> oldest, bool complete, uint32_t asked);
  void SetFree(std::vector<uint64_t> free, bool complete, uint32_t asked);
  void AddKeys(std::vector<float> block, absl::Span<const uint64_t> slots);  // [slots, dim], first wins
  void AddCount(const ValueCount& count);  // adds to what other shards told
  // --- what a committed turn wrote that the shards do not have yet; oldest turn first ---
  void AddUnapplied(const Effects& effects);

  // --- questions ---
  const MemorySpec& spec() const { return *spec_; }
  const float* row(uint32_t i) const { return rows_.data() + size_t{i} * spec_->key_dim; }
  uint64_t live() const { return base_live_ + unapplied_live_ + live_delta_; }
  Step step() const { return Step(step_); }

  // The best min(k, live) slots for the row (fewer from an unproven index), in the order of neighbors.
  bool Neighbors(uint32_t row, uint32_t k, std::vector<ScoredSlot>* out, Need* need) const;
  // The most recently written slot of the row's label, if one lives anywhere.
  bool NewestOfLabel(uint32_t row, int64_t label, std::optional<ScoredSlot>* out, Need* need) const;
  // The slot's key as it is now, [dim]; null when it must be fetched.
  const float* Key(uint64_t slot, Need* need) const;
  // The lowest free slot, or none.
  bool LowestFree(std::optional<uint64_t>* out, Need* need) const;
  const PendingSlot* Pending(uint64_t slot) const;
  // Live slots and observations of a value: exact once its count was added.
  ValueCount Count(int64_t value) const;

  // The live slots in age order, the oldest first. Writing to the view ends the walk.
  class AgeWalk {
   public:
    explicit AgeWalk(const TurnView* view);
    // `out` is empty beyond the youngest.
    bool Next(std::optional<SlotState>* out, Need* need);

   private:
    const TurnView* const view_;
    size_t base_;
    std::map<uint64_t, uint64_t>::const_iterator pending_;
  };

  // --- writes, in serial order ---
  struct Observation {
    uint32_t row = 0;
    int64_t value = 0;
    uint64_t step = 0;   // its own
    uint64_t batch = 0;
    const std::string* payload = nullptr;  // null or empty: none
  };
  // A hit, merge or fold averages the key of `target`, as a list told of it. Returns 1 - cos(old key, new key).
  // Requires: Key(target.slot) is known.
  float Reinforce(const ScoredSlot& target, Outcome outcome, const Observation& observation);
  // A miss: the slot takes the row and its value. `old` is empty for a free slot.
  void Insert(uint64_t slot, const std::optional<SlotState>& old, const Observation& observation);
  void SetStep(Step step) { step_ = step.value; }

  // What this turn wrote, without what AddUnapplied brought. The view is spent.
  Effects TakeEffects();

 private:
  void PutPayload(PendingSlot* slot, uint16_t place, const Observation& observation) const;
  // The slot to write to: its state before this turn is remembered at the first touch.
  PendingSlot* Touch(uint64_t slot, const Hash128& hash_before, uint64_t new_step);

  const MemorySpec* const spec_;
  const absl::Span<const float> rows_;  // [n, dim] unit norm
  uint64_t step_;
  uint64_t base_live_ = 0;
  int64_t unapplied_live_ = 0;

  absl::flat_hash_map<uint32_t, MergedRow> merged_;
  std::vector<SlotState> oldest_;
  bool oldest_complete_ = false;
  uint32_t oldest_asked_ = 0;
  size_t oldest_start_ = 0;  // entries before it are pending
  std::vector<uint64_t> free_;
  bool free_complete_ = false;
  uint32_t free_asked_ = 0;
  size_t free_start_ = 0;    // entries before it are pending
  std::vector<std::vector<float>> key_blocks_;
  absl::flat_hash_map<uint64_t, const float*> keys_;
  absl::flat_hash_map<int64_t, ValueCount> counts_;

  absl::flat_hash_map<uint64_t, PendingSlot> pending_;
  std::map<uint64_t, uint64_t> pending_by_step_;  // written step -> slot
  int64_t live_delta_ = 0;  // of this turn
  absl::flat_hash_map<int64_t, std::pair<int64_t, int64_t>> unapplied_counts_;
  absl::flat_hash_map<int64_t, std::pair<int64_t, int64_t>> count_deltas_;  // of this turn
};

}  // namespace evoke
