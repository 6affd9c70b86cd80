#include "server/engine/merge.h"

#include <algorithm>
#include <limits>

namespace evoke {
namespace {

void MergeNeighbors(absl::Span<const Proposal> proposals, size_t index, MergedRow* merged) {
  bool unproven = false;
  Bound& bound = merged->bound;
  size_t told = 0;
  for (const Proposal& p : proposals) told += p.rows[index].neighbors.size();
  merged->neighbors.reserve(told);
  for (const Proposal& p : proposals) {
    const RowProposal& row = p.rows[index];
    // Every shard's are in order already.
    const auto middle = merged->neighbors.insert(merged->neighbors.end(), row.neighbors.begin(), row.neighbors.end());
    if (middle != merged->neighbors.begin()) {
      std::inplace_merge(merged->neighbors.begin(), middle, merged->neighbors.end(),
                         [](const ScoredSlot& a, const ScoredSlot& b) { return Before(a.rank(), b.rank()); });
    }
    unproven |= row.bound.kind == Bound::Kind::kUnproven;
    if (row.bound.kind == Bound::Kind::kRank &&
        (bound.kind == Bound::Kind::kComplete || Before(row.bound.rank, bound.rank))) {
      bound = row.bound;
    }
  }
  if (unproven) {
    bound.kind = Bound::Kind::kUnproven;
  } else if (bound.kind == Bound::Kind::kRank) {
    std::erase_if(merged->neighbors, [&](const ScoredSlot& n) { return Before(bound.rank, n.rank()); });
  }
}

void MergeOfLabel(absl::Span<const Proposal> proposals, size_t index, MergedRow* merged) {
  uint64_t floor = 0;  // some shard could have an untold slot below it
  for (const Proposal& p : proposals) {
    const RowProposal& row = p.rows[index];
    merged->of_label.insert(merged->of_label.end(), row.of_label.begin(), row.of_label.end());
    if (row.of_label_complete) continue;
    merged->of_label_complete = false;
    floor = std::max(floor, row.of_label.empty() ? std::numeric_limits<uint64_t>::max()
                                                 : row.of_label.back().written_step);
  }
  std::sort(merged->of_label.begin(), merged->of_label.end(),
            [](const ScoredSlot& a, const ScoredSlot& b) { return a.written_step > b.written_step; });
  std::erase_if(merged->of_label, [&](const ScoredSlot& s) { return s.written_step < floor; });
}

}  // namespace

MergedRow MergeRow(absl::Span<const Proposal> proposals, size_t index, const RowWant& want) {
  MergedRow merged{.asked = want.neighbors, .of_label_asked = want.of_label};
  MergeNeighbors(proposals, index, &merged);
  MergeOfLabel(proposals, index, &merged);
  return merged;
}

MergedOldest MergeOldest(absl::Span<const Proposal> proposals) {
  MergedOldest merged;
  uint64_t ceiling = std::numeric_limits<uint64_t>::max();
  for (const Proposal& p : proposals) {
    merged.slots.insert(merged.slots.end(), p.oldest.begin(), p.oldest.end());
    if (p.oldest_complete) continue;
    merged.complete = false;
    ceiling = std::min(ceiling, p.oldest.empty() ? 0 : p.oldest.back().written_step);
  }
  std::sort(merged.slots.begin(), merged.slots.end(),
            [](const SlotState& a, const SlotState& b) { return a.written_step < b.written_step; });
  std::erase_if(merged.slots, [&](const SlotState& s) { return s.written_step > ceiling; });
  return merged;
}

MergedFree MergeFree(absl::Span<const Proposal> proposals) {
  MergedFree merged;
  uint64_t ceiling = std::numeric_limits<uint64_t>::max();
  bool nothing_certain = false;
  for (const Proposal& p : proposals) {
    merged.slots.insert(merged.slots.end(), p.free_slots.begin(), p.free_slots.end());
    if (p.free_complete) continue;
    merged.complete = false;
    if (p.free_slots.empty()) {
      nothing_certain = true;
    } else {
      ceiling = std::min(ceiling, p.free_slots.back());
    }
  }
  std::sort(merged.slots.begin(), merged.slots.end());
  std::erase_if(merged.slots, [&](uint64_t s) { return nothing_certain || s > ceiling; });
  return merged;
}

}  // namespace evoke
