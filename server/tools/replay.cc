#include "server/tools/replay.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/engine/shard_state.h"
#include "server/tools/snapshot_check.h"

namespace evoke {
namespace {

// A state to begin at, and how to name it.
struct Start {
  ShardState state;
  Step step;
  Hash128 chain;
  std::string name;
};

Hash128 SumOf(const ShardState& state) {
  Hash128 sum;
  for (const auto& [partition, hash] : state.PartitionHashes()) sum += hash;
  return sum;
}

absl::StatusOr<ShardState> EmptyState(const InspectedMemory& memory) {
  std::vector<Partition> all;
  for (uint32_t p = 0; p < memory.spec.partitions; ++p) all.push_back(Partition(p));
  return ShardState::Create(memory.spec, memory.uid, std::move(all));
}

absl::Status Differs(const char* what, const std::string& found, const std::string& meta) {
  return absl::DataLossError(absl::StrCat("the replayed ", what, " is ", found, ", the meta row says ", meta));
}

absl::Status PlayOn(Start start, const InspectedMemory& memory, const SlotStore& store, std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store.ReadMeta());
  ShardState& state = start.state;
  const Turn first = state.turn();
  EVOKE_RETURN_IF_ERROR(store.ReadRecords(first.Next(), [&](const DecodedTurn& turn) {
    // The records' own chain is checked as they are read; only its first link leads out of them.
    if (turn.record.previous_chain != start.chain) {
      return absl::DataLossError(absl::StrCat("the record of turn ", turn.record.turn.value, " follows chain ",
                                              turn.record.previous_chain.ToString(), ", not ", start.chain.ToString()));
    }
    ShardState::Changes changes;
    EVOKE_RETURN_IF_ERROR(state.Apply(turn.record, &changes));
    if (SumOf(state) != turn.record.state_hash) {
      return absl::DataLossError(absl::StrCat("after turn ", turn.record.turn.value, " the replayed hash is ",
                                              SumOf(state).ToString(), ", the record says ",
                                              turn.record.state_hash.ToString()));
    }
    start.step = turn.record.step_after;
    start.chain = turn.chain;
    return absl::OkStatus();
  }));
  if (SumOf(state) != meta.state_hash) return Differs("hash", SumOf(state).ToString(), meta.state_hash.ToString());
  if (start.step != meta.step) return Differs("step", absl::StrCat(start.step.value), absl::StrCat(meta.step.value));
  if (start.chain != meta.chain) return Differs("chain", start.chain.ToString(), meta.chain.ToString());
  out << absl::StrFormat("memory \"%s\": %u turns replayed from %s: turn %u, step %u, hash %s, chain %s: OK\n",
                         memory.name, meta.turn.value - first.value, start.name, meta.turn.value, meta.step.value,
                         meta.state_hash.ToString(), meta.chain.ToString());
  return absl::OkStatus();
}

// The last record whose content came from elsewhere. Nullopt: the kept ones have none.
absl::StatusOr<std::optional<DecodedTurn>> LastOrigin(const SlotStore& store) {
  std::optional<DecodedTurn> last;
  EVOKE_RETURN_IF_ERROR(store.ReadRecords(store.FirstKeptTurn(), [&](const DecodedTurn& turn) {
    if (turn.record.origin.has_value()) last = turn;
    return absl::OkStatus();
  }));
  return last;
}

absl::Status CheckReach(const SnapshotManifest& manifest, const MetaRow& meta, const SlotStore& store) {
  if (manifest.turn > meta.turn) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot ", manifest.id, " is of turn ", manifest.turn.value,
                                                   ", the store has come to turn ", meta.turn.value, " only"));
  }
  const Turn kept = store.FirstKeptTurn();
  if (kept > manifest.turn.Next()) {
    return absl::OutOfRangeError(absl::StrCat("the records do not reach back: snapshot ", manifest.id, " is of turn ",
                                              manifest.turn.value, ", the first record that is kept is of turn ",
                                              kept.value));
  }
  return absl::OkStatus();
}

// A copied content; a fork of an ephemeral memory has it in its own writes.
bool NeedsOrigin(const TurnRecord& record) {
  return record.admin == AdminOp::kRestore || (record.writes.empty() && record.live_after > 0);
}

}  // namespace

absl::Status Replay(const InspectedMemory& memory, const SlotStore& store, std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(ShardState state, EmptyState(memory));
  state.FinishLoad(Turn(0), Epoch(1));
  return PlayOn({.state = std::move(state), .name = "an empty memory"}, memory, store, out);
}

absl::Status ReplayFrom(const InspectedMemory& memory, const SlotStore& store, const std::string& snapshot_folder,
                        std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, ReadSnapshot(snapshot_folder));
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store.ReadMeta());
  if (manifest.spec_digest != meta.spec_digest) {
    return absl::InvalidArgumentError(
        absl::StrCat("snapshot ", manifest.id, " is of a memory with another spec than \"", memory.name, "\""));
  }
  Turn turn = manifest.turn;
  Epoch epoch = manifest.epoch;
  Hash128 chain = manifest.chain;
  EVOKE_ASSIGN_OR_RETURN(const std::optional<DecodedTurn> copied, LastOrigin(store));
  const bool of_this = manifest.uid == memory.uid;
  if (copied.has_value() && NeedsOrigin(copied->record) && !(of_this && manifest.turn >= copied->record.turn)) {
    const TurnRecord& record = copied->record;
    const StateOrigin& origin = *record.origin;
    if (origin.uid != manifest.uid || origin.turn != manifest.turn || origin.chain != manifest.chain) {
      return absl::FailedPreconditionError(absl::StrCat(
          "turn ", record.turn.value, " of \"", memory.name, "\" is a ",
          record.admin == AdminOp::kFork ? "fork" : "restore", " of turn ", origin.turn.value, " of memory ",
          origin.uid.ToString(), " and cannot be replayed over; give a snapshot of that state, or of turn ",
          record.turn.value, " or later of this memory"));
    }
    turn = record.turn;  // the snapshot is what that record says the memory became
    epoch = record.epoch;
    chain = copied->chain;
  } else if (!of_this) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot ", manifest.id, " is of memory ",
                                                   manifest.uid.ToString(), ", \"", memory.name, "\" is ",
                                                   memory.uid.ToString()));
  } else {
    EVOKE_RETURN_IF_ERROR(CheckReach(manifest, meta, store));
  }

  EVOKE_ASSIGN_OR_RETURN(ShardState state, EmptyState(memory));
  EVOKE_RETURN_IF_ERROR(ScanSnapshot(snapshot_folder, manifest, [&](const SlotRow& row) {
    return state.Load(row.slot, row.value, row.written_step, row.hits, row.key);
  }));
  state.FinishLoad(turn, epoch);
  return PlayOn({.state = std::move(state),
                 .step = manifest.step,
                 .chain = chain,
                 .name = absl::StrCat("snapshot ", manifest.id)},
                memory, store, out);
}

}  // namespace evoke
