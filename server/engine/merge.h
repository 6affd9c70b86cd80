// Proposals of several shards as one: what is certain of the whole memory.
//
// A shard's list says of what it leaves out only that it comes later. So the merged list is cut where some shard
// could still have something that belongs before: what remains is certain, and the bound says what comes next. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/shard.h"
#include "server/memory/turn_view.h"

namespace evoke {

// `want` is what every shard was asked for; entry `index` of each proposal's rows.
MergedRow MergeRow(absl::Span<const Proposal> proposals, size_t index, const RowWant& want);

struct MergedOldest {
  std::vector<SlotState> slots;  // ascending written step
  bool complete = true;
};
MergedOldest MergeOldest(absl::Span<const Proposal> proposals);

struct MergedFree {
  std::vector<uint64_t> slots;  // ascending
  bool complete = true;
};
MergedFree MergeFree(absl::Span<const Proposal> proposals);

}  // namespace evoke
