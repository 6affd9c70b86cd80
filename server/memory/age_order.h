// The live positions of a shard in the order of their last writes, oldest first.
//
// A doubly linked list threaded through two arrays: a write moves a slot to the back, and no sweep over all
// slots is ever needed, since age is derived from written steps. All operations are O(1). Thread-compatible.
#pragma once

#include <cstdint>
#include <limits>

#include "server/memory/mapped_array.h"

namespace evoke {

class AgeOrder {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  explicit AgeOrder(uint32_t capacity) : next_(capacity), previous_(capacity) {}
  bool ok() const { return next_.ok() && previous_.ok(); }

  // Requires: the position is not in the order.
  void PushBack(uint32_t position);
  // Requires of the others: the position is in the order.
  void Remove(uint32_t position);
  void MoveToBack(uint32_t position);
  void Clear();

  // The oldest and the youngest; kNone when empty.
  uint32_t oldest() const { return head_; }
  uint32_t youngest() const { return tail_; }
  // The next younger one; kNone at the end.
  uint32_t Next(uint32_t position) const { return next_[position]; }

  uint64_t MemoryBytes() const { return next_.bytes() + previous_.bytes(); }
  static uint64_t PlannedBytes(uint64_t capacity) { return 2 * sizeof(uint32_t) * capacity; }
  uint64_t entries_touched() const { return entries_touched_; }

 private:
  // Entries of positions that are not in the order mean nothing, so fresh zeros need no initialisation.
  MappedArray<uint32_t> next_;
  MappedArray<uint32_t> previous_;
  uint32_t head_ = kNone;
  uint32_t tail_ = kNone;
  uint64_t entries_touched_ = 0;
};

}  // namespace evoke
