#include "server/memory/batch_plan.h"

#include <algorithm>
#include <utility>

#include "server/memory/row_score.h"
#include "server/similarity/similarity.h"

namespace evoke {

BatchPlan::BatchPlan(const MemorySpec* spec, const WriteRule* rule, BatchRows rows, Step before, uint64_t batch)
    : spec_(spec), rule_(rule), rows_(std::move(rows)), batch_(batch), step_(before.value) {
  const size_t n = rows_.view_row.size();
  steps_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    if (!skipped(i) && rows_.write[i]) steps_[i] = ++step_;
  }
  judgements_.resize(n);
  judged_.resize(n);
  figures_.seen.resize(n);
  PrepareResult(*spec_, n, rows_.form, rows_.confidence_gradient, &result_);
}

bool BatchPlan::Resolve(TurnView* view, Need* need) {
  const bool done = spec_->batch == BatchMode::kAtomic ? ResolveAtomic(view, need) : ResolveSequential(view, need);
  if (done) view->SetStep(Step(step_));
  return done;
}

bool BatchPlan::ResolveAtomic(TurnView* view, Need* need) {
  const size_t n = judged_.size();
  if (stage_ == Stage::kJudge) {
    // All rows are judged before the first write; what several of them lack is asked for together.
    for (size_t i = 0; i < n; ++i) {
      if (!skipped(i) && !judged_[i]) judged_[i] = JudgeAndScore(*view, i, need);
    }
    if (!need->empty()) return false;
    for (size_t i = 0; i < n; ++i) {
      if (steps_[i] != 0 && judgements_[i].intention != Outcome::kDropped) reinforced_.insert(judgements_[i].target.slot);
    }
    stage_ = Stage::kReinforce;
  }
  if (stage_ == Stage::kReinforce) {
    for (size_t i = 0; i < n; ++i) {
      const Judgement& j = judgements_[i];
      if (steps_[i] != 0 && j.intention != Outcome::kDropped) Reinforce(view, i, j.target, j.intention);
    }
    stage_ = Stage::kPlace;
  }
  for (; next_ < n; ++next_) {
    if (steps_[next_] == 0 || judgements_[next_].intention != Outcome::kDropped) continue;
    if (spec_->fold_misses && Fold(view, next_)) continue;
    if (!PlaceMiss(view, next_, /*atomic=*/true, need)) return false;
  }
  stage_ = Stage::kDone;
  return true;
}

bool BatchPlan::ResolveSequential(TurnView* view, Need* need) {
  for (; next_ < judged_.size(); ++next_) {
    const size_t i = next_;
    if (skipped(i)) continue;
    if (!judged_[i]) judged_[i] = JudgeAndScore(*view, i, need);
    if (!judged_[i]) return false;
    if (steps_[i] == 0) continue;
    const Judgement& j = judgements_[i];
    if (j.intention != Outcome::kDropped) {
      Reinforce(view, i, j.target, j.intention);
    } else if (!PlaceMiss(view, i, /*atomic=*/false, need)) {
      return false;
    }
  }
  stage_ = Stage::kDone;
  return true;
}

bool BatchPlan::JudgeAndScore(const TurnView& view, size_t i, Need* need) {
  Judgement& j = judgements_[i];
  if (!rule_->Decide(view, rows_.view_row[i], rows_.values[i], &j, need)) return false;
  // The write needs the target's key; asked for here, so that it comes along with what the score needs.
  bool known = j.intention == Outcome::kDropped || steps_[i] == 0 || view.Key(j.target.slot, need) != nullptr;
  const RowToScore row{.view_row = rows_.view_row[i], .norm = rows_.norms[i], .index = i};
  known &= ScoreRow(view, j, row, rows_.form, rows_.confidence_gradient, &result_, need);
  if (!known) return false;
  figures_.seen[i] = view.Count(rows_.values[i]).observations;
  j.neighbors.clear();
  j.neighbors.shrink_to_fit();
  return true;
}

TurnView::Observation BatchPlan::ObservationOf(size_t i) const {
  return {.row = rows_.view_row[i],
          .value = rows_.values[i],
          .step = steps_[i],
          .batch = batch_,
          .payload = rows_.payloads.empty() ? nullptr : &rows_.payloads[i]};
}

void BatchPlan::Reinforce(TurnView* view, size_t i, const ScoredSlot& target, Outcome outcome) {
  figures_.key_drifts.push_back(view->Reinforce(target, outcome, ObservationOf(i)));
  result_.outcomes[i] = outcome;
  result_.slots[i] = target.slot;
}

bool BatchPlan::Fold(TurnView* view, size_t i) {
  const float* q = view->row(rows_.view_row[i]);
  for (const Taken& t : taken_) {
    if (t.value != rows_.values[i]) continue;
    const PendingSlot& p = *view->Pending(t.slot);
    const float similarity = Similarity(q, p.key.data(), static_cast<int>(spec_->key_dim));
    if (similarity < *spec_->fold_misses) continue;
    Reinforce(view, i, {t.slot, similarity, p.value, p.written_step, p.hits}, Outcome::kFolded);
    return true;
  }
  return false;
}

bool BatchPlan::PlaceMiss(TurnView* view, size_t i, bool atomic, Need* need) {
  std::optional<uint64_t> free;
  if (!view->LowestFree(&free, need)) return false;
  std::optional<SlotState> old;
  if (!free) {
    const auto eligible = [&](const SlotState& s) {
      if (!atomic) return true;
      const PendingSlot* p = view->Pending(s.slot);
      return !reinforced_.contains(s.slot) && !(p != nullptr && p->this_turn && p->batch == batch_);
    };
    if (!ChooseEvicted(*view, steps_[i], eligible, &old, need)) return false;
    if (!old) {
      result_.outcomes[i] = Outcome::kDropped;
      return true;
    }
    figures_.evictions.push_back({.slot = old->slot,
                                  .old_value = old->value,
                                  .new_value = rows_.values[i],
                                  .age = steps_[i] - old->written_step,
                                  .step = steps_[i]});
  }
  const uint64_t slot = free ? *free : old->slot;
  view->Insert(slot, old, ObservationOf(i));
  taken_.push_back({rows_.values[i], slot});
  result_.outcomes[i] = free ? Outcome::kFree : Outcome::kEvict;
  result_.slots[i] = slot;
  return true;
}

}  // namespace evoke
