// The durable state of one memory in a RocksDB of its own: one WriteBatch and at most one sync a commit.
//
// Contract: slot_store.h. Keys: key_layout.h. Format, and why a recovered store holds the acknowledged turns
// and at most some whole unacknowledged ones: README.md.
//
// Threads: thread-safe; commits, truncations and nothing else wait for each other.
// Failure: every RocksDB status becomes DATA_LOSS (corruption, a missing file), UNAVAILABLE (disk full,
// input/output error, a stopped database) or INTERNAL; no exception escapes. A commit that is refused
// (FAILED_PRECONDITION, INVALID_ARGUMENT) wrote nothing and the store goes on; after any other failure it
// fails closed. Cost: a commit writes each slot's row and its record, so about twice the keys of the turn.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "storage/key_layout.h"
#include "storage/record_window.h"
#include "storage/rocksdb_resources.h"
#include "storage/session_table.h"
#include "storage/slot_store.h"
#include "storage/state_rows.h"

namespace rocksdb {
class DB;
class Snapshot;
class WriteBatch;
}  // namespace rocksdb

namespace evoke {

class RocksDbSlotStore final : public SlotStore {
 public:
  struct Options {
    std::string path;  // of the store's folder; its parent must exist
    MemoryUid uid;
    uint32_t key_dim = 0;
    uint32_t partitions = 0;
    uint32_t payload_history = 0;
    Durability durability = Durability::kFsync;  // or kWal
    Hash128 spec_digest;
    // Records kept: at most so many and at most so many bytes; 0 in either: none. 4,096 small turns replay in
    // well under a second, and 64 MiB is what RocksDB keeps in one write buffer anyway.
    uint64_t keep_records_count = 4096;
    uint64_t keep_records_bytes = uint64_t{64} << 20;
    bool create = false;                       // make the store if it is not there
    bool read_only = false;                    // changes nothing on disk; commits are refused
    std::shared_ptr<RocksDbResources> shared;  // null: resources of its own (tools, tests)
  };

  // NOT_FOUND when there is no store and `create` is false; DATA_LOSS when what is there is of another memory
  // or spec, or damaged; FAILED_PRECONDITION when its format is newer, naming both versions.
  static absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> Open(Options options);
  // What a store says of itself, as options that open it read-only.
  static absl::StatusOr<Options> Describe(const std::string& path);
  // Makes the copy of a store that lies at options.path the store of options.uid: `record`, a fork or a restore, becomes
  // its last and only kept turn, its sessions are gone. One synced write: before it the copy is what it was.
  // INVALID_ARGUMENT when the record's origin is not the state that lies there.
  static absl::Status Adopt(Options options, const TurnRecord& record);
  // Removes the store's files, and the folder when nothing else is in it. Requires: it is not open.
  static absl::Status Destroy(const std::string& path);
  ~RocksDbSlotStore() override;

  absl::Status Commit(absl::Span<const TurnRecord* const> records) override;
  Turn AppliedTurn() const override;
  absl::StatusOr<MetaRow> ReadMeta() const override;
  absl::Status ScanPartition(Partition partition,
                             const std::function<absl::Status(const SlotRow&)>& visit) const override;
  absl::Status ScanBlocks(Partition partition, uint64_t first_block, uint64_t blocks,
                          const std::function<absl::Status(const SlotRow&)>& visit) const override;
  absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const override;
  absl::StatusOr<std::string> ReadReply(const SessionId& session, uint64_t number) const override;
  absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const override;
  absl::Status ReadRecords(Turn from,
                           const std::function<absl::Status(const DecodedTurn&)>& visit) const override;
  Turn FirstKeptTurn() const override;
  absl::Status TruncateRecordsBefore(Turn turn) override;
  absl::StatusOr<Turn> Checkpoint(const std::string& dir) override;
  absl::StatusOr<std::shared_ptr<const StoreReader>> OpenReader() override;
  uint64_t ApproximateBytes() const override;

 private:
  struct Readers;  // who reads beside us
  class Reader;

  explicit RocksDbSlotStore(Options options);

  absl::Status OpenDatabase();
  absl::Status Initialize();
  absl::Status LoadState();
  absl::Status CommitStaged(absl::Span<const TurnRecord* const> records);
  absl::Status WriteAdopted(const TurnRecord& record, const Options& owner);
  // These read the state at `at`; null: the latest.
  absl::Status ScanSlots(Partition partition, const rocksdb::Snapshot* at,
                         const std::function<absl::Status(const SlotRow&)>& visit) const;
  absl::Status ScanSlotRange(Partition partition, const KeyRange& range, const rocksdb::Snapshot* at,
                             size_t readahead_bytes, const std::function<absl::Status(const SlotRow&)>& visit) const;
  absl::Status ReadSlotRows(absl::Span<const SlotId> slots, const rocksdb::Snapshot* at,
                            const std::function<absl::Status(const SlotRow&)>& visit) const;
  absl::Status ReadPayloadRows(absl::Span<SlotPayloads> slots, const rocksdb::Snapshot* at) const;
  void PutSlots(const TurnRecord& record, rocksdb::WriteBatch* batch) const;
  absl::Status Fail(absl::Status status);
  absl::Status Health() const;

  const Options options_;
  const KeyLayout layout_;
  std::unique_ptr<rocksdb::DB> db_;
  const std::shared_ptr<Readers> readers_;

  std::mutex commit_mu_;   // held by whoever changes anything; taken before mu_
  SessionTable sessions_;  // guarded by commit_mu_
  std::string link_;       // guarded by commit_mu_; of the meta row, as the next batch has it (rocksdb_whole_log.h)

  mutable std::mutex mu_;  // guards the next three; held for moments only
  MetaRow meta_;
  RecordWindow window_;
  absl::Status failed_;
};

}  // namespace evoke
