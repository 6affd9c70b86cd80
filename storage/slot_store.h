// The durable state of one memory: slots, payloads, sessions with their replies, turn records, and a meta row.
//
// There is one way to change anything: Commit. Whatever a turn did, down to a forgotten session, is in its record,
// and record and effects are written together. Implementations: RocksDbSlotStore (one RocksDB a memory),
// RamSlotStore (ephemeral memories: payloads and replies only, the shards hold the slots).
//
// Threads: Commit is called by one thread at a time; reads may run beside it and beside each other, and see the
// state before or after a whole Commit, never between.
// Failure: after a failed Commit the outcome is unknown and every later call fails with the same status, until the
// store is closed and opened again; what is on disk then decides.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/ids.h"
#include "storage/store_figures.h"
#include "storage/turn_record.h"

namespace evoke {

// Named in every reply. Values are stored: never renumber.
enum class Durability : uint8_t {
  kMemory = 1,  // lives in RAM only
  kWal = 2,     // survives a crash of the process
  kFsync = 3,   // survives power loss
};

// The row that changes with every turn.
struct MetaRow {
  MemoryUid uid;
  Epoch epoch{1};
  Term term{1};
  Turn turn;  // last applied; 0 before the first
  Step step;
  Hash128 chain;           // of the last record
  Hash128 state_hash;      // of all live slots
  Hash128 spec_digest;     // of the spec the memory was created with
  uint64_t live_count = 0;
  Turn forgotten_turn;     // last turn of any forgotten session; 0: none was forgotten
  friend bool operator==(const MetaRow&, const MetaRow&) = default;
};

struct SlotRow {
  SlotId slot;
  int64_t value = 0;
  Step written_step;
  uint32_t hits = 0;
  absl::Span<const float> key;  // valid during the visit only
};

// A session as recovery needs it: replies stay on disk.
struct SessionRow {
  struct Reply {
    uint64_t number = 0;
    Hash128 digest;
    uint64_t reply_bytes = 0;
    friend bool operator==(const Reply&, const Reply&) = default;
  };
  SessionId id;
  Turn last_turn;               // of its last mutation
  uint64_t last_number = 0;
  std::vector<Reply> replies;   // unacknowledged ones, ascending number
  friend bool operator==(const SessionRow&, const SessionRow&) = default;
};

struct Payload {
  Step step;           // of the observation that brought it
  std::string bytes;   // never empty here
  uint16_t place = 0;  // of the ring; where it lies, not what it is: equality does not look at it
  friend bool operator==(const Payload& a, const Payload& b) { return a.step == b.step && a.bytes == b.bytes; }
};

struct SlotPayloads {
  SlotId slot;
  uint32_t hits = 0;              // in: tells which places of the ring are valid
  std::vector<Payload> payloads;  // out: the first one, then the latest ones in the order of their steps
};

// A store at one turn, for those who read whole memories beside the engine: exports, forks, snapshots.
//
// Threads: thread-safe. It may outlive its store, which waits for calls under way when it closes; from then on every
// call answers UNAVAILABLE. Cost: what later commits overwrite stays on disk as long as it is open.
class StoreReader {
 public:
  virtual ~StoreReader() = default;
  virtual const MetaRow& meta() const = 0;
  // As SlotStore's, of the reader's turn.
  virtual absl::Status ScanPartition(Partition partition,
                                     const std::function<absl::Status(const SlotRow&)>& visit) const = 0;
  // Visits these slots in this order. DATA_LOSS for one that is not live.
  virtual absl::Status ReadSlots(absl::Span<const SlotId> slots,
                                 const std::function<absl::Status(const SlotRow&)>& visit) const = 0;
  virtual absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const = 0;
  // Store::Checkpoint: of the reader's turn or a later one.
  virtual absl::StatusOr<Turn> Checkpoint(const std::string& dir) const = 0;
};

class SlotStore {
 public:
  virtual ~SlotStore() = default;

  // Makes the turns durable, in order and all or none, as one write and one sync.
  // Requires: records[0].turn == AppliedTurn() + 1, without holes after it, and each record's previous_chain to be
  // the chain before it: otherwise FAILED_PRECONDITION and nothing is written. A record whose turn is already
  // applied is passed over.
  virtual absl::Status Commit(absl::Span<const TurnRecord* const> records) = 0;

  virtual Turn AppliedTurn() const = 0;
  virtual absl::StatusOr<MetaRow> ReadMeta() const = 0;

  // Visits the live slots of one partition in ascending slot order, each with its checksum verified (DATA_LOSS names
  // the slot). A non-OK status from `visit` ends the scan and is returned.
  virtual absl::Status ScanPartition(Partition partition, const std::function<absl::Status(const SlotRow&)>& visit) const = 0;

  // The same of blocks first_block to first_block + blocks - 1 of a partition: slots block * P + partition.
  // UNIMPLEMENTED where slots are not stored.
  virtual absl::Status ScanBlocks(Partition partition, uint64_t first_block, uint64_t blocks,
                                  const std::function<absl::Status(const SlotRow&)>& visit) const {
    return absl::UnimplementedError("slots are not stored");
  }

  // Ascending session id.
  virtual absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const = 0;

  // The stored reply bytes of a committed mutation. NOT_FOUND when it was acknowledged or forgotten.
  virtual absl::StatusOr<std::string> ReadReply(const SessionId& session, uint64_t number) const = 0;

  // Fills `payloads` of each entry. The ring: place 0 is the first payload, place 1 + (h - 1) mod (history - 1) that
  // of hit h; `hits` alone says which are valid. Places that hold an empty payload are left out.
  virtual absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const = 0;

  // Visits the kept records from `from` on in order. OUT_OF_RANGE (a gap) when `from` is no longer kept; OK without a
  // visit when `from` is AppliedTurn() + 1. `visit` returning non-OK ends it.
  virtual absl::Status ReadRecords(Turn from, const std::function<absl::Status(const DecodedTurn&)>& visit) const = 0;
  // The first turn whose record is kept; AppliedTurn() + 1 when none is.
  virtual Turn FirstKeptTurn() const = 0;
  // Drops the records before `turn`; they are history, so this is no change of state.
  virtual absl::Status TruncateRecordsBefore(Turn turn) = 0;

  // A consistent copy in `dir` (which must not exist), sharing files where it can. Returns the turn it holds.
  virtual absl::StatusOr<Turn> Checkpoint(const std::string& dir) = 0;

  // The store as it is now. UNIMPLEMENTED where the slots are not in the store (RamSlotStore).
  virtual absl::StatusOr<std::shared_ptr<const StoreReader>> OpenReader() {
    return absl::UnimplementedError("this store holds no slots");
  }

  // Disk bytes in use, or RAM bytes for a RAM store.
  virtual uint64_t ApproximateBytes() const = 0;

  // What it does on its disk; null where it has none.
  virtual std::shared_ptr<const StoreMeter> Meter() const { return nullptr; }
};

}  // namespace evoke
