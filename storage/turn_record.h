// One turn of a memory as bytes: the decision, not the request.
//
// A TurnRecord holds final bits. Applying it runs no search, no floating point, no clock and no randomness, so
// recovery, replay and (later) replicas cannot come to another state than the live path did. It is what
// SlotStore::Commit writes, what Shard::Apply reads, and what evoke-inspect replays.
//
//   chain = XXH3-128(previous chain | body)      names the whole history up to this turn
//   encoded = magic, version, body length, body, chain, XXH3-64 of all before
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/ids.h"

namespace evoke {

// How a slot came to its new content. Values are stored: never renumber.
enum class WriteKind : uint8_t {
  kHit = 1,     // nearest neighbor had the right value: key averaged
  kMerged = 2,  // merge_on_miss reinforced another neighbor of the value
  kFolded = 3,  // fold_misses reinforced a slot that this batch took
  kFree = 4,    // a miss written into a free slot
  kEvict = 5,   // a miss that replaced a live slot
  kImport = 6,  // written by an Import, or copied by a fork
};

// One place of a slot's payload ring (see SlotStore). An empty `bytes` says: that observation carried no payload.
struct PayloadRow {
  uint16_t place = 0;
  Step step;
  std::string bytes;
  friend bool operator==(const PayloadRow&, const PayloadRow&) = default;
};

// The final content of one slot after the turn. A slot appears at most once in a record.
struct SlotWrite {
  SlotId slot;
  WriteKind kind = WriteKind::kFree;  // of the last observation that wrote it
  int64_t value = 0;
  Step written_step;
  uint32_t hits = 0;
  std::vector<float> key;  // [key_dim], unit norm, raw bits
  std::vector<PayloadRow> payloads;
  friend bool operator==(const SlotWrite&, const SlotWrite&) = default;
};

// What a turn does to the exactly-once bookkeeping, in order.
struct SessionOp {
  enum class Kind : uint8_t { kOpen = 1, kOutcome = 2, kAcknowledge = 3, kForget = 4 };
  Kind kind = Kind::kOutcome;
  SessionId session;
  uint64_t number = 0;  // kOutcome: the mutation's; kAcknowledge: replies below it are dropped
  Hash128 digest;       // kOutcome: of the request's decoded fields
  std::string reply;    // kOutcome: the whole reply but for header.instance and header.term
  friend bool operator==(const SessionOp&, const SessionOp&) = default;
};

// Turns that change more than slots; each alone in its turn. Values are stored: never renumber.
enum class AdminOp : uint8_t {
  kNone = 0,
  kClear = 1,
  kImport = 2,   // rows that were not decided here
  kFork = 3,     // turn 1 of a copy: the content is `origin`'s
  kRestore = 4,  // in place: the content is `origin`'s from here on, and every session is forgotten
};

// The state that a fork or a restore takes its content from.
struct StateOrigin {
  MemoryUid uid;
  Epoch epoch;
  Turn turn;
  Step step;
  Hash128 chain;
  Hash128 state_hash;
  friend bool operator==(const StateOrigin&, const StateOrigin&) = default;
};

struct TurnRecord {
  MemoryUid uid;
  Epoch epoch;  // after the turn
  Term term{1};
  Turn turn;
  Hash128 previous_chain;
  Step step_before;
  Step step_after;
  AdminOp admin = AdminOp::kNone;  // kClear frees every slot; `freed` stays empty
  std::optional<StateOrigin> origin;  // exactly with kFork and kRestore. Their slots are in the store that was copied,
                                      // but for a fork of an ephemeral memory, whose writes are all of them
  std::vector<SlotWrite> writes;   // ascending written_step, so applying them in order yields the age order
  std::vector<SlotId> freed;
  std::vector<SessionOp> sessions;
  Hash128 state_hash;       // after the turn
  uint64_t live_after = 0;  // live slots after the turn

  // The part of the record that concerns partitions for which `keep` says true: writes and freed slots are cut,
  // everything else is whole. Applying all slices of a cut equals applying the record.
  template <typename Keep>
  TurnRecord Slice(uint64_t partition_count, Keep keep) const;

  friend bool operator==(const TurnRecord&, const TurnRecord&) = default;
};

struct EncodedTurn {
  std::string bytes;
  Hash128 chain;
};

// INVALID_ARGUMENT when a record contradicts itself: a kind that is none, a slot that appears twice, written steps that
// do not ascend.
absl::Status CheckTurnRecord(const TurnRecord& record);

// Deterministic: equal records give equal bytes. Only those of a record that CheckTurnRecord passes can be decoded.
EncodedTurn EncodeTurnRecord(const TurnRecord& record);

struct DecodedTurn {
  TurnRecord record;
  Hash128 chain;
};

// DATA_LOSS when a checksum, length or the chain does not hold; FAILED_PRECONDITION for a newer version, naming both.
// Never reads outside `bytes`, whatever they are.
absl::StatusOr<DecodedTurn> DecodeTurnRecord(std::string_view bytes);

template <typename Keep>
TurnRecord TurnRecord::Slice(uint64_t partition_count, Keep keep) const {
  TurnRecord cut = *this;
  std::erase_if(cut.writes, [&](const SlotWrite& w) { return !keep(Partition(w.slot.value % partition_count)); });
  std::erase_if(cut.freed, [&](SlotId s) { return !keep(Partition(s.value % partition_count)); });
  return cut;
}

}  // namespace evoke
