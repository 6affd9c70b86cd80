// What one labelled row means for a memory, before anything is written: answer, positive, negative, intention.
//
// Pure: reads a TurnView and nothing else, so that the decision can be taken where no table is. Resumable: what the
// view lacks goes into `need`, and the same question can be put again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/memory/turn_view.h"

namespace evoke {

struct Judgement {
  std::vector<ScoredSlot> neighbors;   // choose_k of them, in order; empty: the memory has no live slot
  std::optional<ScoredSlot> positive;  // first neighbor of the right value, else its most recently written slot
  std::optional<ScoredSlot> negative;  // first neighbor of another value
  bool positive_is_neighbor = false;   // false: the fallback, which merge_on_miss never takes
  // kHit or kMerged with their target; kDropped stands for a miss whose slot is not chosen yet.
  Outcome intention = Outcome::kDropped;
  ScoredSlot target;
};

// How observations change a memory (semantics.md, section 6). Stateless.
class WriteRule {
 public:
  virtual ~WriteRule() = default;
  // Row `row` of the view with its right value; false when something is missing from the view.
  virtual bool Decide(const TurnView& view, uint32_t row, int64_t value, Judgement* out, Need* need) const = 0;
};

// Kaiser et al., ICLR 2017, section 3: reinforce on a hit, insert on a miss (semantics.md, sections 4 and 5).
class RareEventsRule final : public WriteRule {
 public:
  bool Decide(const TurnView& view, uint32_t row, int64_t value, Judgement* out, Need* need) const override;
};

const WriteRule& RuleOf(WriteRuleKind kind);

// The slot that a miss of `step` replaces: argmax of age + noise over the live slots for which `eligible` says true,
// none when there are none. Walks the age order from its old end and stops as soon as no younger slot can win: exact,
// and about sqrt(age_noise) slots. The largest age + noise is compared in units of 2^-32 observations.
template <typename Eligible>
bool ChooseEvicted(const TurnView& view, uint64_t step, const Eligible& eligible, std::optional<SlotState>* out,
                   Need* need);

// The score that ChooseEvicted compares: age * 2^32 + age_noise * draw.
unsigned __int128 EvictionScore(const MemorySpec& spec, uint64_t step, const SlotState& slot);
// No noise can lift the slot above this.
unsigned __int128 EvictionScoreLimit(const MemorySpec& spec, uint64_t step, const SlotState& slot);

template <typename Eligible>
bool ChooseEvicted(const TurnView& view, uint64_t step, const Eligible& eligible, std::optional<SlotState>* out,
                   Need* need) {
  out->reset();
  unsigned __int128 best = 0;
  TurnView::AgeWalk walk(&view);
  for (std::optional<SlotState> slot;;) {
    if (!walk.Next(&slot, need)) return false;
    if (!slot) return true;
    if (*out && EvictionScoreLimit(view.spec(), step, *slot) < best) return true;
    if (!eligible(*slot)) continue;
    const unsigned __int128 score = EvictionScore(view.spec(), step, *slot);
    if (!*out || score > best || (score == best && slot->slot < (*out)->slot)) {
      best = score;
      *out = slot;
    }
  }
}

}  // namespace evoke
