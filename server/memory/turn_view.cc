#include "server/memory/turn_view.h"

#include <algorithm>

#include "server/memory/state_hash.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// Asking again doubles what was asked for, so that a question is settled in a logarithmic number of trips.
uint32_t More(uint32_t asked) { return std::max<uint32_t>(1, 2 * asked); }

Hash128 HashOf(uint64_t slot, const PendingSlot& p) { return SlotHash(slot, p.value, p.written_step, p.hits, p.key); }

}  // namespace

void TurnView::SetRow(uint32_t row, MergedRow merged) {
  MergedRow& known = merged_[row];
  if (merged.asked > 0) {
    known.neighbors = std::move(merged.neighbors);
    known.bound = merged.bound;
    known.asked = merged.asked;
  }
  if (merged.of_label_asked > 0) {
    known.of_label = std::move(merged.of_label);
    known.of_label_complete = merged.of_label_complete;
    known.of_label_asked = merged.of_label_asked;
  }
}

void TurnView::SetOldest(std::vector<SlotState> oldest, bool complete, uint32_t asked) {
  oldest_ = std::move(oldest);
  oldest_complete_ = complete;
  oldest_asked_ = asked;
  oldest_start_ = 0;
}

void TurnView::SetFree(std::vector<uint64_t> free, bool complete, uint32_t asked) {
  free_ = std::move(free);
  free_complete_ = complete;
  free_asked_ = asked;
  free_start_ = 0;
}

void TurnView::AddKeys(std::vector<float> block, absl::Span<const uint64_t> slots) {
  key_blocks_.push_back(std::move(block));
  const float* key = key_blocks_.back().data();
  for (size_t i = 0; i < slots.size(); ++i) keys_.try_emplace(slots[i], key + i * spec_->key_dim);
}

void TurnView::AddCount(const ValueCount& count) {
  ValueCount& sum = counts_[count.value];
  sum.value = count.value;
  sum.live_slots += count.live_slots;
  sum.observations += count.observations;
}

void TurnView::AddUnapplied(const Effects& effects) {
  unapplied_live_ += effects.live_delta;
  for (const auto& [value, delta] : effects.count_deltas) {
    unapplied_counts_[value].first += delta.first;
    unapplied_counts_[value].second += delta.second;
  }
  for (const auto& [slot, written] : effects.slots) {
    auto [it, inserted] = pending_.try_emplace(slot);
    if (!inserted) pending_by_step_.erase(it->second.written_step);
    it->second = written;
    it->second.this_turn = false;
    it->second.payloads.clear();
    pending_by_step_[written.written_step] = slot;
  }
}

bool TurnView::Neighbors(uint32_t row, uint32_t k, std::vector<ScoredSlot>* out, Need* need) const {
  out->clear();
  const size_t m = std::min<uint64_t>(k, live());
  if (m == 0) return true;
  // What comes after a rank above every similarity is everything: nothing is known.
  static const MergedRow kNothing{.bound = {.kind = Bound::Kind::kRank, .rank = {2.0f, 0}}};
  const auto found = merged_.find(row);
  const MergedRow& base = found == merged_.end() || found->second.asked == 0 ? kNothing : found->second;

  std::vector<ScoredSlot> written;
  written.reserve(pending_.size());
  for (const auto& [slot, p] : pending_) {
    written.push_back({slot, Similarity(this->row(row), p.key.data(), static_cast<int>(spec_->key_dim)), p.value,
                       p.written_step, p.hits});
  }
  std::sort(written.begin(), written.end(),
            [](const ScoredSlot& a, const ScoredSlot& b) { return Before(a.rank(), b.rank()); });

  out->reserve(m);
  auto told = base.neighbors.begin();
  auto own = written.begin();
  while (out->size() < m) {
    while (told != base.neighbors.end() && pending_.contains(told->slot)) ++told;
    const bool told_left = told != base.neighbors.end();
    if (own != written.end() && (!told_left || Before(own->rank(), told->rank()))) {
      // With the told ones at their end, an untold slot could still come first.
      if (!told_left && base.bound.kind == Bound::Kind::kRank && Before(base.bound.rank, own->rank())) break;
      out->push_back(*own++);
    } else if (told_left) {
      out->push_back(*told++);
    } else {
      break;
    }
  }
  if (out->size() == m || base.bound.kind != Bound::Kind::kRank) return true;
  need->neighbors.push_back({row, More(base.asked)});
  return false;
}

bool TurnView::NewestOfLabel(uint32_t row, int64_t label, std::optional<ScoredSlot>* out, Need* need) const {
  out->reset();
  // Every pending write is younger than everything that the shards have.
  for (auto it = pending_by_step_.rbegin(); it != pending_by_step_.rend(); ++it) {
    const PendingSlot& p = pending_.at(it->second);
    if (p.value != label) continue;
    *out = {it->second, Similarity(this->row(row), p.key.data(), static_cast<int>(spec_->key_dim)), p.value,
            p.written_step, p.hits};
    return true;
  }
  const auto found = merged_.find(row);
  if (found != merged_.end()) {
    for (const ScoredSlot& told : found->second.of_label) {
      if (pending_.contains(told.slot)) continue;  // it has another value now
      *out = told;
      return true;
    }
    if (found->second.of_label_complete && found->second.of_label_asked > 0) return true;
  }
  need->of_label.push_back({row, More(found == merged_.end() ? 0 : found->second.of_label_asked)});
  return false;
}

const float* TurnView::Key(uint64_t slot, Need* need) const {
  if (const PendingSlot* p = Pending(slot)) return p->key.data();
  if (const auto it = keys_.find(slot); it != keys_.end()) return it->second;
  need->fetch.push_back(slot);
  return nullptr;
}

const PendingSlot* TurnView::Pending(uint64_t slot) const {
  const auto it = pending_.find(slot);
  return it == pending_.end() ? nullptr : &it->second;
}

bool TurnView::LowestFree(std::optional<uint64_t>* out, Need* need) const {
  out->reset();
  if (live() >= spec_->capacity) return true;
  for (size_t i = free_start_; i < free_.size(); ++i) {
    if (pending_.contains(free_[i])) continue;
    *out = free_[i];
    return true;
  }
  if (free_complete_) return true;
  need->free = More(free_asked_);
  return false;
}

ValueCount TurnView::Count(int64_t value) const {
  ValueCount count{.value = value};
  if (const auto it = counts_.find(value); it != counts_.end()) count = it->second;
  for (const auto* deltas : {&unapplied_counts_, &count_deltas_}) {
    if (const auto it = deltas->find(value); it != deltas->end()) {
      count.live_slots += it->second.first;
      count.observations += it->second.second;
    }
  }
  return count;
}

TurnView::AgeWalk::AgeWalk(const TurnView* view)
    : view_(view), base_(view->oldest_start_), pending_(view->pending_by_step_.begin()) {}

bool TurnView::AgeWalk::Next(std::optional<SlotState>* out, Need* need) {
  out->reset();
  while (base_ < view_->oldest_.size()) {
    const SlotState& told = view_->oldest_[base_++];
    if (view_->pending_.contains(told.slot)) continue;
    *out = told;
    return true;
  }
  if (!view_->oldest_complete_) {
    need->oldest = More(view_->oldest_asked_);
    return false;
  }
  if (pending_ != view_->pending_by_step_.end()) {
    const uint64_t slot = (pending_++)->second;
    const PendingSlot& p = view_->pending_.at(slot);
    *out = {slot, p.value, p.written_step, p.hits, {}};
  }
  return true;
}

PendingSlot* TurnView::Touch(uint64_t slot, const Hash128& hash_before, uint64_t new_step) {
  auto [it, inserted] = pending_.try_emplace(slot);
  PendingSlot& p = it->second;
  if (inserted) {
    p.hash_before = hash_before;
  } else {
    if (!p.this_turn) {
      p.hash_before = HashOf(slot, p);
      p.this_turn = true;
    }
    pending_by_step_.erase(p.written_step);
  }
  pending_by_step_[new_step] = slot;
  p.written_step = new_step;
  while (oldest_start_ < oldest_.size() && pending_.contains(oldest_[oldest_start_].slot)) ++oldest_start_;
  while (free_start_ < free_.size() && pending_.contains(free_[free_start_])) ++free_start_;
  return &p;
}

void TurnView::PutPayload(PendingSlot* slot, uint16_t place, const Observation& observation) const {
  PendingPayload row{place, observation.step, observation.payload ? *observation.payload : std::string()};
  for (PendingPayload& p : slot->payloads) {
    if (p.place == place) {
      p = std::move(row);
      return;
    }
  }
  slot->payloads.push_back(std::move(row));
}

float TurnView::Reinforce(const ScoredSlot& target, Outcome outcome, const Observation& observation) {
  const int dim = static_cast<int>(spec_->key_dim);
  Hash128 hash_before;
  std::vector<float> key;
  if (!pending_.contains(target.slot)) {
    const float* base = keys_.at(target.slot);
    key.assign(base, base + dim);
    hash_before = SlotHash(target.slot, target.value, target.written_step, target.hits, key);
  }
  const bool first = !key.empty();
  PendingSlot* p = Touch(target.slot, hash_before, observation.step);
  if (first) {
    p->key = std::move(key);
    p->value = target.value;
    p->hits = target.hits;
  }
  const std::vector<float> old_key = p->key;
  evoke::Reinforce(p->key.data(), row(observation.row), dim);
  if (p->hits != ~uint32_t{0}) ++p->hits;
  p->outcome = outcome;
  p->batch = observation.batch;
  count_deltas_[p->value].second += 1;
  if (const uint32_t history = spec_->payload_history; history >= 2) {
    PutPayload(p, static_cast<uint16_t>(1 + (p->hits - 1) % (history - 1)), observation);
  }
  return 1.0f - Similarity(old_key.data(), p->key.data(), dim);
}

void TurnView::Insert(uint64_t slot, const std::optional<SlotState>& old, const Observation& observation) {
  PendingSlot* p = Touch(slot, old ? old->row_hash : Hash128{}, observation.step);
  if (old) {
    auto& delta = count_deltas_[old->value];
    delta.first -= 1;
    delta.second -= 1 + int64_t{old->hits};
  } else {
    ++live_delta_;
  }
  p->outcome = old ? Outcome::kEvict : Outcome::kFree;
  p->value = observation.value;
  p->hits = 0;
  p->key.assign(row(observation.row), row(observation.row) + spec_->key_dim);
  p->batch = observation.batch;
  p->payloads.clear();
  if (spec_->payload_history >= 1) PutPayload(p, 0, observation);
  auto& delta = count_deltas_[observation.value];
  delta.first += 1;
  delta.second += 1;
}

Effects TurnView::TakeEffects() {
  Effects effects{.live_delta = live_delta_, .count_deltas = std::move(count_deltas_)};
  for (auto& [slot, p] : pending_) {
    if (p.this_turn) effects.slots.emplace(slot, std::move(p));
  }
  return effects;
}

}  // namespace evoke
