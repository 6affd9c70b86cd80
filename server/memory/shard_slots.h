// The live slots of one shard, by local position: their content, their age order, the slots of each value,
// and the free positions, changed together so that they never disagree.
//
//   recovery:  Load every row, in any order -> FinishLoad
//   after it:  Write, Free, Clear
//
// A position is 0 .. capacity - 1 and says nothing of slot ids. Owns all its memory; thread-compatible.
// Cost: Write and Free are O(key_dim) and read or change a bounded number of rows and list entries, which
// rows_touched() counts. At 524,288 x 128 all of it takes the raw keys + 36.4 bytes a slot + 25 bytes an
// entry of the value map (see value_index.h for what that is a value).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/memory/age_order.h"
#include "server/memory/free_slots.h"
#include "server/memory/slot_table.h"
#include "server/memory/value_index.h"

namespace evoke {

class ShardSlots {
 public:
  // RESOURCE_EXHAUSTED when there is not enough address space. capacity 0 is legal and stays empty.
  static absl::StatusOr<ShardSlots> Create(uint32_t capacity, uint32_t dim);

  // Requires: no FinishLoad yet; the position is not live. Orders do not know the row before FinishLoad.
  void Load(uint32_t position, const SlotFields& fields, absl::Span<const float> key);
  // Sorts what was loaded by written step, once (equal steps: by position), and builds the orders.
  void FinishLoad();

  // The position holds this from now on and is the youngest; it may have been free or live.
  // Requires: fields.written_step is at least every other live one's.
  void Write(uint32_t position, const SlotFields& fields, absl::Span<const float> key);
  // Requires: the position is live.
  void Free(uint32_t position);
  // Frees all, and gives the keys' memory back.
  void Clear();

  const SlotTable& table() const { return table_; }
  const AgeOrder& ages() const { return ages_; }
  const ValueIndex& values() const { return values_; }
  const FreeSlots& free() const { return free_; }

  uint64_t MemoryBytes() const;
  // At most what MemoryBytes can ever say of these.
  static uint64_t PlannedBytes(uint64_t capacity, uint32_t dim);
  uint64_t rows_touched() const {
    return table_.rows_touched() + ages_.entries_touched() + values_.entries_touched();
  }

 private:
  ShardSlots(SlotTable table, AgeOrder ages, ValueIndex values, FreeSlots free);

  SlotTable table_;
  AgeOrder ages_;
  ValueIndex values_;
  FreeSlots free_;
};

}  // namespace evoke
