// The state of an ephemeral memory that no shard holds: payload rings, sessions with their replies, meta.
//
// Slots live in the shards and nowhere else, and no records are kept: ScanPartition visits nothing,
// FirstKeptTurn is AppliedTurn() + 1, and a store that is closed is gone. What a commit refuses is what
// RocksDbSlotStore refuses. Thread-safe. Failure: a refused commit changes nothing; there is no other.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/session_table.h"
#include "storage/slot_store.h"

namespace evoke {

class RamSlotStore : public SlotStore {
 public:
  struct Options {
    MemoryUid uid;
    uint32_t payload_history = 0;
    Hash128 spec_digest;
  };
  explicit RamSlotStore(const Options& options);

  absl::Status Commit(absl::Span<const TurnRecord* const> records) override;
  Turn AppliedTurn() const override;
  absl::StatusOr<MetaRow> ReadMeta() const override;
  absl::Status ScanPartition(Partition partition,
                             const std::function<absl::Status(const SlotRow&)>& visit) const override;
  absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const override;
  absl::StatusOr<std::string> ReadReply(const SessionId& session, uint64_t number) const override;
  absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const override;
  absl::Status ReadRecords(Turn from,
                           const std::function<absl::Status(const DecodedTurn&)>& visit) const override;
  Turn FirstKeptTurn() const override;
  absl::Status TruncateRecordsBefore(Turn turn) override;
  // UNIMPLEMENTED: there is nothing to copy.
  absl::StatusOr<Turn> Checkpoint(const std::string& dir) override;
  uint64_t ApproximateBytes() const override;  // of payloads and replies

 private:
  using Ring = std::vector<Payload>;  // by place; grows with the highest place written

  void ApplySlots(const TurnRecord& record);
  void EraseRing(SlotId slot);

  const Options options_;
  mutable std::mutex mu_;  // guards all below
  MetaRow meta_;
  SessionTable sessions_;
  std::map<std::pair<SessionId, uint64_t>, std::string> replies_;
  absl::flat_hash_map<SlotId, Ring> rings_;
  uint64_t bytes_ = 0;
};

}  // namespace evoke
