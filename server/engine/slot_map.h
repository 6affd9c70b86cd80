// Which slots a shard owns, and where they lie in its tables.
//
//   slot = block * P + p                  p: the slot's partition
//   position = block * owned + rank(p)    rank: the place of p among the shard's partitions, ascending
//
// Positions count up without holes in the order of slot ids. A last block that the capacity cuts short holds
// the partitions below capacity mod P: the lowest ranks, so it too has no holes. Immutable; thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "storage/ids.h"

namespace evoke {

class SlotMap {
 public:
  // Requires: `owned` ascending, not empty, each below partition_count.
  SlotMap(uint64_t capacity, uint32_t partition_count, std::vector<Partition> owned)
      : slot_count_(capacity), partition_count_(partition_count), owned_(std::move(owned)) {
    rank_of_.assign(partition_count, kNotOwned);
    for (uint32_t rank = 0; rank < owned_.size(); ++rank) rank_of_[owned_[rank].value] = rank;
    const uint64_t cut = capacity % partition_count;
    const auto in_last = std::lower_bound(owned_.begin(), owned_.end(), Partition(cut)) - owned_.begin();
    capacity_ = static_cast<uint32_t>(capacity / partition_count * owned_.size() + in_last);
  }

  // Positions of the shard; 0 when all its partitions lie beyond a tiny memory.
  uint32_t capacity() const { return capacity_; }
  uint64_t partition_count() const { return partition_count_; }
  bool Owns(uint64_t slot) const {
    return slot < slot_count_ && rank_of_[slot % partition_count_] != kNotOwned;
  }
  // Requires: Owns(slot).
  uint32_t PositionOf(uint64_t slot) const {
    return static_cast<uint32_t>(slot / partition_count_ * owned_.size() + rank_of_[slot % partition_count_]);
  }
  uint64_t SlotAt(uint32_t position) const {
    return position / owned_.size() * partition_count_ + owned_[RankOf(position)].value;
  }
  uint32_t RankOf(uint32_t position) const { return static_cast<uint32_t>(position % owned_.size()); }
  const std::vector<Partition>& owned() const { return owned_; }

 private:
  static constexpr uint32_t kNotOwned = std::numeric_limits<uint32_t>::max();

  uint64_t slot_count_;
  uint64_t partition_count_;
  std::vector<Partition> owned_;
  std::vector<uint32_t> rank_of_;  // [partition_count]
  uint32_t capacity_;
};

}  // namespace evoke
