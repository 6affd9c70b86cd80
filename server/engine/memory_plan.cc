#include "server/engine/memory_plan.h"

#include <algorithm>

#include "server/base/status_macros.h"
#include "server/index/device_plan.h"
#include "server/index/index_factory.h"
#include "server/memory/shard_slots.h"

namespace evoke {
namespace {

// Of RocksDB, a row: sequence number and type (8), lengths, its part of block index and restart points.
constexpr uint64_t kRowOverhead = 16;
// storage/README.md: kind 1, partition 4, block 8; version 1, value 8, step 8, hits 4, checksum 8.
constexpr uint64_t kSlotRow = 13 + 29 + kRowOverhead;
// Kind 1, partition 4, block 8, place 2; step 8, checksum 8.
constexpr uint64_t kPayloadRow = 15 + 16 + kRowOverhead;
// The write-ahead log is at most what a write buffer holds, and there may be two.
constexpr uint64_t kLog = uint64_t{128} << 20;
// A session, and each reply that it may still ask for (number, digest, size), with what containers add.
constexpr uint64_t kSession = 160;
constexpr uint64_t kReply = 48;
// storage/README.md and server/index/README.md: 262,144 rows of 128 floats are checked in about a second on two busy
// cores, and 256 MiB of keys are compared with a row in 5 ms by two. Slower machines are common, so half of it.
constexpr double kLoadBytesPerSecond = 70e6;
constexpr double kScanBytesPerSecond = 24e9;
constexpr double kOpenSeconds = 0.5;
// A search uses all cores within a shard too, and each shard finds all the neighbors that are wanted: with 65,536 slots
// of 128 and 64 rows, train steps took 28% longer with two shards than with one; with 524,288, 10%. There they pay by recovery,
// which reads shards in parallel.
constexpr uint64_t kSlotsOfShard = 262'144;

}  // namespace

uint32_t ShardCount(const MemorySpec& spec, const EngineOptions& engine, size_t cores) {
  const uint64_t worth = (spec.capacity + kSlotsOfShard - 1) / kSlotsOfShard;
  // A device is searched by one shard as fast as by several, and what the CPU then does is spread within the shard.
  const uint64_t parts = IsDeviceIndex(engine.index) ? std::max<size_t>(1, engine.gpu_devices.size())
                                                     : std::min<uint64_t>(cores, worth);
  const uint64_t wanted = engine.shards > 0 ? engine.shards : parts;
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, spec.partitions));
}

absl::StatusOr<MemoryPlan> PlanOf(const MemorySpec& spec, const PlanOptions& options) {
  MemoryPlan plan;
  const uint32_t shards = ShardCount(spec, options.engine, options.cores);
  for (uint32_t s = 0; s < shards; ++s) {
    // Partitions s, s + shards, ... are the shard's; each has its part of the capacity, rounded to whole slots.
    uint64_t capacity = 0;
    for (uint32_t p = s; p < spec.partitions; p += shards) {
      capacity += spec.capacity / spec.partitions + (p < spec.capacity % spec.partitions ? 1 : 0);
    }
    plan.table_bytes += ShardSlots::PlannedBytes(capacity, spec.key_dim);
    EVOKE_ASSIGN_OR_RETURN(const IndexPlan index,
                           PlanIndex(options.engine.index, {.dim = spec.key_dim,
                                                            .capacity = static_cast<uint32_t>(capacity),
                                                            .make_device = options.engine.make_device}));
    plan.index_bytes += index.ram_bytes;
    plan.gpu_bytes += index.device_bytes;
  }
  plan.session_bytes = options.engine.max_sessions * (kSession + options.engine.max_unacknowledged * kReply);
  plan.ram_bytes = plan.table_bytes + plan.index_bytes + plan.session_bytes;
  plan.payload_bytes = spec.capacity * spec.payload_history * (kPayloadRow + options.max_payload_bytes);

  const uint64_t key_bytes = spec.capacity * spec.key_dim * sizeof(float);
  plan.scan_seconds_estimate = static_cast<double>(key_bytes) / kScanBytesPerSecond;
  if (spec.durability == SpecDurability::kMemory) return plan;
  plan.disk_slot_bytes = spec.capacity * kSlotRow + key_bytes;
  plan.disk_record_bytes = options.keep_records_bytes + options.engine.max_reply_bytes;
  // A merge writes the new files before the old ones go, and rows that were written over wait for theirs.
  plan.disk_headroom_bytes = plan.disk_slot_bytes + plan.disk_record_bytes + kLog;
  plan.disk_bytes =
      plan.disk_slot_bytes + plan.payload_bytes + plan.disk_record_bytes + plan.disk_headroom_bytes;
  plan.recovery_seconds_estimate = kOpenSeconds + static_cast<double>(plan.disk_slot_bytes) / kLoadBytesPerSecond;
  return plan;
}

}  // namespace evoke
