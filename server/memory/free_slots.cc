#include "server/memory/free_slots.h"

#include <bit>
#include <cassert>
#include <cstddef>

namespace evoke {

FreeSlots::FreeSlots(uint32_t capacity) : capacity_(capacity) {
  uint64_t bits = capacity;
  do {
    bits = (bits + 63) / 64;
    levels_.emplace_back(bits);
  } while (bits > 1);
  Clear();
}

void FreeSlots::Clear() {
  uint64_t bits = capacity_;
  for (std::vector<uint64_t>& level : levels_) {
    level.assign(level.size(), ~uint64_t{0});
    // Bits beyond the end must stay 0: Next would find them.
    if (bits % 64 != 0) level.back() = (uint64_t{1} << (bits % 64)) - 1;
    bits = level.size();
  }
  count_ = capacity_;
}

void FreeSlots::Take(uint32_t position) {
  assert(IsFree(position));
  --count_;
  uint64_t i = position;
  for (std::vector<uint64_t>& level : levels_) {
    uint64_t& word = level[i >> 6];
    word &= ~(uint64_t{1} << (i & 63));
    if (word != 0) return;  // the levels above say "some" as before
    i >>= 6;
  }
}

void FreeSlots::Give(uint32_t position) {
  assert(!IsFree(position));
  ++count_;
  uint64_t i = position;
  for (std::vector<uint64_t>& level : levels_) {
    uint64_t& word = level[i >> 6];
    const bool had_some = word != 0;
    word |= uint64_t{1} << (i & 63);
    if (had_some) return;
    i >>= 6;
  }
}

uint32_t FreeSlots::Next(uint32_t from) const {
  // Up, as long as the word at hand has nothing at or after `i`; then down along the lowest bits.
  uint64_t i = from;
  for (size_t level = 0; level < levels_.size(); ++level) {
    if (i >> 6 >= levels_[level].size()) return kNone;
    const uint64_t rest = levels_[level][i >> 6] >> (i & 63);
    if (rest != 0) {
      i += std::countr_zero(rest);
      while (level > 0) i = i * 64 + std::countr_zero(levels_[--level][i]);
      return static_cast<uint32_t>(i);
    }
    i = (i >> 6) + 1;
  }
  return kNone;
}

uint64_t FreeSlots::MemoryBytes() const {
  uint64_t bytes = 0;
  for (const std::vector<uint64_t>& level : levels_) bytes += level.capacity() * sizeof(uint64_t);
  return bytes;
}

uint64_t FreeSlots::PlannedBytes(uint64_t capacity) {
  uint64_t words = 0;
  uint64_t bits = capacity;
  do {
    bits = (bits + 63) / 64;
    words += bits;
  } while (bits > 1);
  return words * sizeof(uint64_t);
}

}  // namespace evoke
