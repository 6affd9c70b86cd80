#include "server/engine/recovery.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/engine/local_shard.h"
#include "server/engine/memory_plan.h"

namespace evoke {
namespace {

absl::Status Corrupt(const std::string& message) {
  return MakeError(absl::StatusCode::kDataLoss, message, {.reason = "CORRUPT_MEMORY"});
}

// Progress is told in steps of so many rows: a counter that two threads share is dear.
constexpr uint64_t kRowsTold = 256;

// Reads the live rows of a shard's partitions into it and puts them in order.
absl::Status LoadShard(const RecoveryOptions& options, const MetaRow& meta, const std::vector<Partition>& partitions,
                       LocalShard* shard) {
  for (const Partition p : partitions) {
    uint64_t rows = 0;
    const absl::Status scanned = options.store->ScanPartition(p, [&](const SlotRow& row) {
      if (++rows % kRowsTold == 0) options.progress->slots_loaded.fetch_add(kRowsTold, std::memory_order_relaxed);
      return shard->Load(row.slot, row.value, row.written_step, row.hits, row.key);
    });
    EVOKE_RETURN_IF_ERROR(scanned);
    options.progress->slots_loaded.fetch_add(rows % kRowsTold, std::memory_order_relaxed);
  }
  shard->FinishLoad(meta.turn, meta.epoch);
  return absl::OkStatus();
}

absl::Status LoadShards(const RecoveryOptions& options, const MetaRow& meta,
                        const std::vector<std::vector<Partition>>& owned,
                        const std::vector<std::unique_ptr<LocalShard>>& shards) {
  std::vector<absl::Status> loaded(shards.size());
  const auto load = [&](size_t s) { loaded[s] = LoadShard(options, meta, owned[s], shards[s].get()); };
  if (options.io == nullptr) {
    for (size_t s = 0; s < shards.size(); ++s) load(s);
  } else {
    ParallelFor(options.io, options.cores, shards.size(), load);
  }
  for (const absl::Status& status : loaded) EVOKE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

// Of all shards. What the first one has is not put into a set again: of two shards at most half is.
uint64_t DistinctValues(const std::vector<std::unique_ptr<LocalShard>>& shards) {
  const ValueIndex& first = shards[0]->values();
  absl::flat_hash_set<int64_t> others;
  for (size_t s = 1; s < shards.size(); ++s) {
    shards[s]->values().VisitValues([&](int64_t value) {
      if (first.Find(value).live_slots == 0) others.insert(value);
    });
  }
  return first.distinct_values() + others.size();
}

// The sum over partitions must be what the meta row says of the last turn.
absl::Status CheckHash(const MetaRow& meta, const std::vector<std::unique_ptr<LocalShard>>& shards,
                       uint64_t slots_loaded) {
  Hash128 sum;
  for (const auto& shard : shards) {
    for (const auto& [partition, hash] : shard->PartitionHashes()) sum += hash;
  }
  if (slots_loaded != meta.live_count || sum != meta.state_hash) {
    return Corrupt(absl::StrCat("the store holds ", slots_loaded, " slots with hash ", sum.ToString(),
                                ", the meta row of turn ", meta.turn.value, " says ", meta.live_count, " with ",
                                meta.state_hash.ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Recovered> Recover(const RecoveryOptions& options) {
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, options.store->ReadMeta());
  RecoveryProgress progress;
  RecoveryOptions o = options;
  if (o.progress == nullptr) o.progress = &progress;
  o.progress->slots_to_load = meta.live_count;
  o.progress->slots_loaded = 0;

  const uint32_t shard_count = ShardCount(o.spec, o.engine, o.cores);
  const std::vector<uint32_t> shard_of = ShardSet::RoundRobin(o.spec.partitions, shard_count);
  std::vector<std::vector<Partition>> owned(shard_count);
  for (uint32_t p = 0; p < o.spec.partitions; ++p) owned[shard_of[p]].push_back(Partition(p));
  std::vector<std::unique_ptr<LocalShard>> shards(shard_count);
  for (uint32_t s = 0; s < shard_count; ++s) {
    // Shards are searched beside each other: what cores are left over one shard's search may use.
    const size_t width = std::max<size_t>(1, o.cores / shard_count);
    const std::vector<int>& devices = o.engine.gpu_devices;
    EVOKE_ASSIGN_OR_RETURN(shards[s], LocalShard::Create({.spec = o.spec,
                                                          .uid = meta.uid,
                                                          .partitions = owned[s],
                                                          .index = o.engine.index,
                                                          .scheduler = o.compute,
                                                          .width = width,
                                                          .device = devices.empty() ? 0 : devices[s % devices.size()],
                                                          .make_device = o.engine.make_device,
                                                          .on_device_search = o.engine.on_device_search}));
  }

  EVOKE_RETURN_IF_ERROR(LoadShards(o, meta, owned, shards));
  EVOKE_RETURN_IF_ERROR(CheckHash(meta, shards, o.progress->slots_loaded));

  Sessions sessions({.max_sessions = o.engine.max_sessions,
                     .max_unacknowledged = o.engine.max_unacknowledged,
                     .max_reply_bytes = o.engine.max_reply_bytes});
  sessions.set_forgotten_turn(meta.forgotten_turn);
  EVOKE_RETURN_IF_ERROR(o.store->ScanSessions([&](const SessionRow& row) {
    sessions.Load(row);
    return absl::OkStatus();
  }));

  const EngineState state{.name = {.memory = o.name,
                                   .uid = meta.uid,
                                   .epoch = meta.epoch,
                                   .term = meta.term,
                                   .turn = meta.turn,
                                   .step = meta.step,
                                   .durability = static_cast<Durability>(o.spec.durability)},
                          .chain = meta.chain,
                          .state_hash = meta.state_hash,
                          .live_count = meta.live_count,
                          .distinct_values = DistinctValues(shards),
                          .sessions = sessions.count()};
  std::vector<std::unique_ptr<Shard>> as_shards(std::make_move_iterator(shards.begin()),
                                                std::make_move_iterator(shards.end()));
  return Recovered{.state = state,
                   .shards = std::make_unique<ShardSet>(std::move(as_shards), shard_of),
                   .sessions = std::move(sessions)};
}

}  // namespace evoke
