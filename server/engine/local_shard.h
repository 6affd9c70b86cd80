// A shard whose slots lie in this process: tables and an index over the partitions that it owns.
//
//   Create -> Load every live row, in any order -> FinishLoad(turn, epoch) -> PartitionHashes (recovery's
//   check)
//          -> Propose, Fetch, ReadValue, Apply, Figures, as of then from any thread
//
// A new memory is the same without rows. Slots of the shard are numbered by *local positions*, which keep the
// order of slot ids, so that ties between neighbors break alike (SlotMap). The index proposes positions;
// similarities, bounds and lists that leave the shard speak of slot ids only.
//
// Owns the tables, the index and a strand on the scheduler, which must outlive it. Requires: every call's
// `done` has run before the shard goes; `done` itself may be what destroys it. Threads: Create to
// PartitionHashes from one thread at a time, before anything else; the rest thread-safe. Work runs on the
// strand; a search fans out over the scheduler. Failure: a request that is refused changes nothing. A record
// that is refused other than with a gap is damaged or not of this memory; the shard then keeps the turn that
// it had.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/thread_pool.h"
#include "server/engine/recall_check.h"
#include "server/engine/shard.h"
#include "server/engine/shard_state.h"
#include "server/index/device_search_factory.h"
#include "server/index/index.h"
#include "server/memory/memory_spec.h"

namespace evoke {

class LocalShard final : public Shard {
 public:
  struct Options {
    MemorySpec spec;
    MemoryUid uid;
    std::vector<Partition> partitions;  // owned; ascending, at least one, each below spec.partitions
    std::string index = "flat";         // as in the configuration
    Scheduler* scheduler = nullptr;     // not owned
    size_t width = 1;                   // threads that one search may keep busy
    int device = 0;                     // of an index that is on one; the next two as IndexOptions has them
    MakeDeviceSearch make_device;
    std::function<void(int device, absl::Duration taken)> on_device_search;
  };
  // INVALID_ARGUMENT for partitions or an index that do not exist; RESOURCE_EXHAUSTED when the tables find no
  // memory.
  static absl::StatusOr<std::unique_ptr<LocalShard>> Create(Options options);

  // --- loading ---
  // As ShardState's.
  absl::Status Load(SlotId slot, int64_t value, Step written_step, uint32_t hits,
                    absl::Span<const float> key);
  // ... and builds the index.
  void FinishLoad(Turn turn, Epoch epoch);
  // The sum of the live slots' hashes of each owned partition, ascending.
  std::vector<std::pair<Partition, Hash128>> PartitionHashes() const { return state_.PartitionHashes(); }
  const ValueIndex& values() const { return state_.slots().values(); }

  // --- serving ---
  void Propose(ProposeRequest request, Done<Proposal> done) override;
  void Fetch(FetchRequest request, Done<std::vector<SlotContent>> done) override;
  void ReadValue(SlotsOfValueRequest request, Done<SlotsOfValue> done) override;
  void Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done) override;
  void Figures(Done<ShardFigures> done) override;
  void Audit(AuditRequest request, Done<AuditAnswer> done) override;

  // Rows and list entries that writes have read or changed; grows by O(1) a written slot. Strand only, or
  // idle.
  uint64_t rows_touched() const { return state_.slots().rows_touched(); }

 private:
  friend class LocalShardPeer;  // tests damage the index through it
  LocalShard(ShardState state, std::unique_ptr<Index> index, Scheduler* scheduler);

  absl::Status CheckReadPoint(const ReadPoint& at) const;
  absl::StatusOr<Proposal> DoPropose(const ProposeRequest& request);
  absl::StatusOr<std::vector<SlotContent>> DoFetch(const FetchRequest& request) const;
  absl::StatusOr<SlotsOfValue> DoReadValue(const SlotsOfValueRequest& request) const;
  absl::Status DoApply(const TurnRecord& record);
  ShardFigures DoFigures() const;
  absl::StatusOr<AuditAnswer> DoAudit(const AuditRequest& request);
  bool Holds(uint32_t position, const SlotContent& row) const;

  void SearchNeighbors(const ProposeRequest& request, Proposal* proposal);
  void NewestOfLabel(const ProposeRequest& request, Proposal* proposal) const;
  SlotContent ContentOf(uint32_t position, bool with_key) const;
  const SlotTable& table() const { return state_.slots().table(); }
  KeyMatrixView Keys() const;

  // Strand only, once loaded.
  ShardState state_;
  const std::unique_ptr<Index> index_;
  RecallCheck recall_;
  uint64_t searched_rows_ = 0, written_slots_ = 0;  // since start

  Strand strand_;
};

}  // namespace evoke
