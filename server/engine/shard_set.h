// The shards of one memory, asked together: one answer when all have answered.
//
// Threads: thread-safe. `done` runs once, on a shard's thread or the caller's. Failure: the first error of any shard.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/engine/shard.h"
#include "storage/ids.h"

namespace evoke {

class ShardSet {
 public:
  // `shard_of[p]` is the index of the shard that owns partition p; slot i is in partition i mod shard_of.size().
  ShardSet(std::vector<std::unique_ptr<Shard>> shards, std::vector<uint32_t> shard_of);

  // The default table: p mod shard_count.
  static std::vector<uint32_t> RoundRobin(uint32_t partitions, uint32_t shard_count);

  size_t count() const { return shards_.size(); }

  // One proposal a shard, in shard order.
  void Propose(const ProposeRequest& request, Shard::Done<std::vector<Proposal>> done);
  // In no particular order.
  void Fetch(const FetchRequest& request, Shard::Done<std::vector<SlotContent>> done);
  // The newest `limit` of the whole memory.
  void ReadValue(const SlotsOfValueRequest& request, Shard::Done<SlotsOfValue> done);
  void Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done);
  void Figures(Shard::Done<std::vector<ShardFigures>> done);
  // Asks the one shard that owns the partition.
  void Audit(AuditRequest request, Shard::Done<AuditAnswer> done);

 private:
  const std::vector<std::unique_ptr<Shard>> shards_;
  const std::vector<uint32_t> shard_of_;
};

}  // namespace evoke
