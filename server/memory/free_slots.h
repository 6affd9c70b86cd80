// The free positions of a shard; the lowest are found first.
//
// A bitmap under a tree of bitmaps, 64 to one: bit i of a level says whether word i of the level below has
// any bit. So finding the next free position looks at no more than two words a level, six levels for 2^31
// positions, however full the shard is; so does taking or giving one. Memory: capacity / 8 bytes and 1/63 of
// it. Thread-compatible.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace evoke {

class FreeSlots {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  // All are free.
  explicit FreeSlots(uint32_t capacity);

  // Requires: it is free.
  void Take(uint32_t position);
  // Requires: it is not free.
  void Give(uint32_t position);
  // All are free again.
  void Clear();

  bool IsFree(uint32_t position) const { return levels_[0][position >> 6] >> (position & 63) & 1; }
  // The lowest free position at or after `from`; kNone when there is none.
  uint32_t Next(uint32_t from) const;
  uint32_t count() const { return count_; }
  uint64_t MemoryBytes() const;
  static uint64_t PlannedBytes(uint64_t capacity);

 private:
  uint32_t capacity_;
  uint32_t count_ = 0;
  std::vector<std::vector<uint64_t>> levels_;  // [0] has a bit a position; the last has one word
};

}  // namespace evoke
