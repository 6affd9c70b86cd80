#include "server/memory/write_rule.h"

#include "server/similarity/age_noise.h"

namespace evoke {

bool RareEventsRule::Decide(const TurnView& view, uint32_t row, int64_t value, Judgement* out, Need* need) const {
  *out = {};
  if (!view.Neighbors(row, view.spec().choose_k, &out->neighbors, need)) return false;
  for (const ScoredSlot& n : out->neighbors) {
    std::optional<ScoredSlot>& side = n.value == value ? out->positive : out->negative;
    if (!side) side = n;
    if (out->positive && out->negative) break;
  }
  out->positive_is_neighbor = out->positive.has_value();
  if (!out->positive && !out->neighbors.empty() && !view.NewestOfLabel(row, value, &out->positive, need)) return false;

  if (!out->neighbors.empty() && out->neighbors[0].value == value) {
    out->intention = Outcome::kHit;
    out->target = out->neighbors[0];
  } else if (view.spec().merge_on_miss && out->positive_is_neighbor &&
             out->positive->similarity >= *view.spec().merge_on_miss) {
    out->intention = Outcome::kMerged;
    out->target = *out->positive;
  }
  return true;
}

const WriteRule& RuleOf(WriteRuleKind kind) {
  static const RareEventsRule kRareEvents;
  switch (kind) {
    case WriteRuleKind::kRareEvents:
      break;
  }
  return kRareEvents;
}

unsigned __int128 EvictionScore(const MemorySpec& spec, uint64_t step, const SlotState& slot) {
  const uint64_t noise = spec.age_noise == 0 ? 0 : uint64_t{spec.age_noise} * NoiseDraw(spec.seed, step, slot.slot);
  return (static_cast<unsigned __int128>(step - slot.written_step) << 32) + noise;
}

unsigned __int128 EvictionScoreLimit(const MemorySpec& spec, uint64_t step, const SlotState& slot) {
  return (static_cast<unsigned __int128>(step - slot.written_step) << 32) + uint64_t{spec.age_noise} * 0xffffffffu;
}

}  // namespace evoke
