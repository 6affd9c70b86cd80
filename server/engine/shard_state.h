// What a shard in this process holds at a turn, and the one function that leads from a turn to the next.
//
//   Create -> Load every live row, in any order -> FinishLoad(turn, epoch) -> Apply, record by record
//
// Apply is a function of state and record alone: no search, no floating point, no clock, no index. The live
// path, recovery, replay and verification all go through it. Owns its partitions' slots and nothing else.
// Thread-compatible. Failure: what Load or Apply refuses changes nothing.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/slot_map.h"
#include "server/memory/memory_spec.h"
#include "server/memory/shard_slots.h"
#include "server/memory/slot.h"
#include "storage/ids.h"
#include "storage/turn_record.h"

namespace evoke {

class ShardState {
 public:
  // `owned`: ascending, at least one, each below spec.partitions; else INVALID_ARGUMENT. RESOURCE_EXHAUSTED
  // when the tables find no memory.
  static absl::StatusOr<ShardState> Create(const MemorySpec& spec, const MemoryUid& uid,
                                           std::vector<Partition> owned);

  // DATA_LOSS for a slot of another shard or loaded twice, or a key of another dimension.
  absl::Status Load(SlotId slot, int64_t value, Step written_step, uint32_t hits,
                    absl::Span<const float> key);
  // Puts the rows in the order of their written steps, once, and stands at this turn.
  void FinishLoad(Turn turn, Epoch epoch);

  // The positions that a record changed; what an index must be told.
  struct Changes {
    bool cleared = false;  // before the others
    std::vector<uint32_t> freed;
    std::vector<uint32_t> written;
  };
  // Applies what concerns this shard of a record, which may be whole or a slice. A turn already applied:
  // nothing. The next one: applied. A later one: OUT_OF_RANGE (GAP). FAILED_PRECONDITION for a record of
  // another memory, INTERNAL for one that no engine writes.
  absl::Status Apply(const TurnRecord& record, Changes* changes);

  const MemoryUid& uid() const { return uid_; }
  Turn turn() const { return turn_; }
  Epoch epoch() const { return epoch_; }
  const SlotMap& map() const { return map_; }
  const ShardSlots& slots() const { return slots_; }
  // The sum of the live slots' hashes of each owned partition, ascending.
  std::vector<std::pair<Partition, Hash128>> PartitionHashes() const;

  // Requires of these: the position is live.
  ScoredSlot Scored(uint32_t position, float similarity) const;
  SlotState StateOf(uint32_t position) const;
  Hash128 HashOf(uint32_t position) const;

 private:
  ShardState(const MemorySpec& spec, const MemoryUid& uid, SlotMap map, ShardSlots slots);
  absl::Status CheckRecord(const TurnRecord& record) const;
  Hash128& PartitionHashOf(uint32_t position) { return hashes_[map_.RankOf(position)]; }

  // Constant after construction.
  uint64_t memory_capacity_;
  MemoryUid uid_;
  SlotMap map_;

  ShardSlots slots_;
  std::vector<Hash128> hashes_;  // one for each owned partition
  Turn turn_;
  Epoch epoch_{1};
};

}  // namespace evoke
