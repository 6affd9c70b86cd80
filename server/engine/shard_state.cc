#include "server/engine/shard_state.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/memory/state_hash.h"

namespace evoke {

absl::StatusOr<ShardState> ShardState::Create(const MemorySpec& spec, const MemoryUid& uid,
                                              std::vector<Partition> owned) {
  EVOKE_RETURN_IF_ERROR(ValidateSpec(spec));
  const bool ascending =
      std::adjacent_find(owned.begin(), owned.end(), std::greater_equal<>()) == owned.end();
  if (owned.empty() || !ascending || owned.back().value >= spec.partitions) {
    return absl::InvalidArgumentError(absl::StrCat("a shard owns ascending partitions below ",
                                                   spec.partitions, ", not these ", owned.size()));
  }
  SlotMap map(spec.capacity, spec.partitions, std::move(owned));
  EVOKE_ASSIGN_OR_RETURN(ShardSlots slots, ShardSlots::Create(map.capacity(), spec.key_dim));
  return ShardState(spec, uid, std::move(map), std::move(slots));
}

ShardState::ShardState(const MemorySpec& spec, const MemoryUid& uid, SlotMap map, ShardSlots slots)
    : memory_capacity_(spec.capacity),
      uid_(uid),
      map_(std::move(map)),
      slots_(std::move(slots)),
      hashes_(map_.owned().size()) {}

absl::Status ShardState::Load(SlotId slot, int64_t value, Step written_step, uint32_t hits,
                              absl::Span<const float> key) {
  if (!map_.Owns(slot.value)) {
    return absl::DataLossError(
        absl::StrCat("slot ", slot.value, " is not one of this shard's ", map_.capacity()));
  }
  if (key.size() != slots_.table().dim()) {
    return absl::DataLossError(absl::StrCat("slot ", slot.value, " has a key of ", key.size(),
                                            " dimensions, expected ", slots_.table().dim()));
  }
  const uint32_t position = map_.PositionOf(slot.value);
  if (slots_.table().IsLive(position)) {
    return absl::DataLossError(absl::StrCat("slot ", slot.value, " was loaded twice"));
  }
  // First the hash: its record is read again as soon as it is written, and would wait for the table's stores to memory.
  PartitionHashOf(position) += SlotHash(slot.value, value, written_step.value, hits, key);
  slots_.Load(position, {value, written_step.value, hits}, key);
  return absl::OkStatus();
}

void ShardState::FinishLoad(Turn turn, Epoch epoch) {
  slots_.FinishLoad();
  turn_ = turn;
  epoch_ = epoch;
}

std::vector<std::pair<Partition, Hash128>> ShardState::PartitionHashes() const {
  std::vector<std::pair<Partition, Hash128>> hashes;
  for (size_t rank = 0; rank < hashes_.size(); ++rank) hashes.emplace_back(map_.owned()[rank], hashes_[rank]);
  return hashes;
}

// Refuses, before anything is changed, what no engine writes: such a record is of another memory or damaged.
absl::Status ShardState::CheckRecord(const TurnRecord& record) const {
  const auto bad = [&](const auto&... what) {
    return absl::InternalError(absl::StrCat("record of turn ", record.turn.value, ": ", what...));
  };
  const bool copied = record.admin == AdminOp::kFork && record.writes.empty() && record.live_after > 0;
  if (record.admin == AdminOp::kRestore || copied) {
    const StateOrigin origin = record.origin.value_or(StateOrigin{});
    return absl::FailedPreconditionError(
        absl::StrCat("turn ", record.turn.value, " takes its content from turn ", origin.turn.value, " of memory ",
                     origin.uid.ToString(), ": it can only be replayed from there"));
  }
  const AgeOrder& ages = slots_.ages();
  uint64_t last_step = 0;
  if (record.admin != AdminOp::kClear && ages.youngest() != AgeOrder::kNone) {
    last_step = slots_.table().written_step(ages.youngest());
  }
  for (const SlotWrite& write : record.writes) {
    if (write.slot.value >= memory_capacity_)
      return bad("slot ", write.slot.value, " is beyond the capacity");
    if (write.key.size() != slots_.table().dim()) return bad("a key has ", write.key.size(), " dimensions");
    if (!map_.Owns(write.slot.value)) continue;
    if (write.written_step.value < last_step) {
      return bad("slot ", write.slot.value, " is written at step ", write.written_step.value, " after step ",
                 last_step);
    }
    last_step = write.written_step.value;
  }
  for (const SlotId slot : record.freed) {
    if (slot.value >= memory_capacity_) return bad("slot ", slot.value, " is beyond the capacity");
  }
  return absl::OkStatus();
}

absl::Status ShardState::Apply(const TurnRecord& record, Changes* changes) {
  *changes = {};
  if (record.uid != uid_) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard holds memory ", uid_.ToString(), ", the record is of ", record.uid.ToString()));
  }
  if (record.turn <= turn_) return absl::OkStatus();
  if (record.turn != turn_.Next()) {
    return absl::OutOfRangeError(
        absl::StrCat("GAP: shard is at turn ", turn_.value, ", the record is of turn ", record.turn.value));
  }
  EVOKE_RETURN_IF_ERROR(CheckRecord(record));

  if (record.admin == AdminOp::kClear) {
    slots_.Clear();
    std::fill(hashes_.begin(), hashes_.end(), Hash128{});
    changes->cleared = true;
  }
  for (const SlotId slot : record.freed) {
    if (!map_.Owns(slot.value)) continue;
    const uint32_t position = map_.PositionOf(slot.value);
    if (!slots_.table().IsLive(position)) continue;
    PartitionHashOf(position) -= HashOf(position);
    slots_.Free(position);
    changes->freed.push_back(position);
  }
  for (const SlotWrite& write : record.writes) {
    if (!map_.Owns(write.slot.value)) continue;
    const uint32_t position = map_.PositionOf(write.slot.value);
    if (slots_.table().IsLive(position)) PartitionHashOf(position) -= HashOf(position);
    slots_.Write(position, {write.value, write.written_step.value, write.hits}, write.key);
    PartitionHashOf(position) += HashOf(position);
    changes->written.push_back(position);
  }
  turn_ = record.turn;
  epoch_ = record.epoch;
  return absl::OkStatus();
}

ScoredSlot ShardState::Scored(uint32_t position, float similarity) const {
  const SlotFields f = slots_.table().fields(position);
  return {map_.SlotAt(position), similarity, f.value, f.written_step, f.hits};
}

SlotState ShardState::StateOf(uint32_t position) const {
  const SlotFields f = slots_.table().fields(position);
  return {map_.SlotAt(position), f.value, f.written_step, f.hits, HashOf(position)};
}

Hash128 ShardState::HashOf(uint32_t position) const {
  const SlotFields f = slots_.table().fields(position);
  return SlotHash(map_.SlotAt(position), f.value, f.written_step, f.hits, slots_.table().CopyKey(position));
}

}  // namespace evoke
