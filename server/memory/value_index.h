// The live positions of each value, most recently written first, with the value's live slots and
// observations.
//
// A hash map from value to the newest position, and a doubly linked list of each value threaded through two
// arrays. All operations are O(1), amortised where the map grows or shrinks. Nothing depends on the map's
// order.
//
// Memory: 8 bytes a position for the links. An entry of the map takes 25 bytes (8 value, 16 Entry, 1
// control); the map is between 7/16 and 7/8 full after it grew, so that is 29 to 57 bytes a distinct value,
// 50 at 524,288 values, where the slots' other fields leave 27 of their 64 bytes. Values go too: the map
// shrinks at 1/16, so that a memory that had many once does not pay for them for ever. Thread-compatible.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/container/flat_hash_map.h"
#include "server/memory/mapped_array.h"

namespace evoke {

class ValueIndex {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  struct Entry {
    uint32_t newest = kNone;  // position
    uint32_t live_slots = 0;
    uint64_t observations = 0;  // sum of 1 + hits
  };

  explicit ValueIndex(uint32_t capacity) : older_(capacity), newer_(capacity) {}
  bool ok() const { return older_.ok() && newer_.ok(); }

  // The position holds `value` from now on and is its newest. Requires: it holds no value.
  void Add(uint32_t position, int64_t value, uint32_t hits);
  // Requires: the position holds `value` with these hits.
  void Remove(uint32_t position, int64_t value, uint32_t hits);
  // A write that keeps the value: the position becomes its newest. Requires: as Remove, of old_hits.
  void Renew(uint32_t position, int64_t value, uint32_t old_hits, uint32_t new_hits);
  void Clear();

  // Nothing lives of a value: newest is kNone, counts are 0.
  Entry Find(int64_t value) const;
  // The next older position of the same value; kNone at the end.
  uint32_t Older(uint32_t position) const { return older_[position]; }
  uint64_t distinct_values() const { return entries_.size(); }
  // Calls visit(value) once for each, in no order that means anything.
  template <typename Visit>
  void VisitValues(Visit visit) const {
    for (const auto& [value, entry] : entries_) visit(value);
  }

  uint64_t MemoryBytes() const;
  // At most, with as many values as positions, however they came and went.
  static uint64_t PlannedBytes(uint64_t capacity);
  uint64_t entries_touched() const { return entries_touched_; }

 private:
  void Link(uint32_t position, Entry* entry);
  void Unlink(uint32_t position, Entry* entry);

  absl::flat_hash_map<int64_t, Entry> entries_;
  MappedArray<uint32_t> older_;
  MappedArray<uint32_t> newer_;
  uint64_t entries_touched_ = 0;
};

}  // namespace evoke
