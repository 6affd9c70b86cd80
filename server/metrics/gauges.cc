#include "server/metrics/gauges.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/alarms.h"
#include "server/metrics/process_figures.h"

namespace evoke {
namespace {

using Labels = Scrape::Labels;

Labels With(Labels labels, const char* name, std::string value) {
  labels[name] = std::move(value);
  return labels;
}

void AddAges(const MemoryFigures& figures, const Labels& memory, Scrape* scrape) {
  constexpr std::pair<const char*, double> kQuantiles[] = {
      {"0", 0}, {"0.5", 0.5}, {"0.9", 0.9}, {"0.99", 0.99}, {"1", 1}};
  if (figures.sampled_ages.empty()) return;
  for (const auto& [name, quantile] : kQuantiles) {
    const auto place = static_cast<size_t>(quantile * static_cast<double>(figures.sampled_ages.size() - 1));
    scrape->Add(Metric::kSlotAge, With(memory, "quantile", name), static_cast<double>(figures.sampled_ages[place]));
  }
}

double LoadedRatio(const MemoryFigures& figures) {
  if (figures.state != MemoryState::kLoading) return figures.state == MemoryState::kFailed ? 0 : 1;
  if (figures.slots_to_load == 0) return 0;
  return static_cast<double>(figures.slots_loaded) / static_cast<double>(figures.slots_to_load);
}

// Of a memory on a disk.
void AddStore(const StoreFigures& store, const Labels& memory, Scrape* scrape) {
  const auto add = [&](Metric metric, const Labels& labels, uint64_t value) {
    scrape->Add(metric, labels, static_cast<double>(value));
  };
  scrape->Add(Metric::kWalSyncSeconds, memory, store.log_syncs);
  add(Metric::kWalBytes, memory, store.log_bytes);
  add(Metric::kRocksDbMemtableBytes, memory, store.memtable_bytes);
  add(Metric::kRocksDbTableBytes, memory, store.table_bytes);
  add(Metric::kRocksDbLevel0Files, memory, store.level0_files);
  add(Metric::kRocksDbPendingCompactionBytes, memory, store.pending_compaction_bytes);
  add(Metric::kRocksDbRunningJobs, With(memory, "job", "flush"), store.running_flushes);
  add(Metric::kRocksDbRunningJobs, With(memory, "job", "compaction"), store.running_compactions);
  add(Metric::kRocksDbWrittenBytes, With(memory, "job", "flush"), store.flushed_bytes);
  add(Metric::kRocksDbWrittenBytes, With(memory, "job", "compaction"), store.compacted_bytes);
  add(Metric::kRocksDbWriteStalls, With(memory, "kind", "delayed"), store.write_delays);
  add(Metric::kRocksDbWriteStalls, With(memory, "kind", "stopped"), store.write_stops);
  add(Metric::kRocksDbBackgroundErrors, memory, store.background_errors);
}

// What of several memories cannot be told by one number.
void AddNamed(const MemoryFigures& figures, const Labels& memory, Scrape* scrape) {
  const auto add = [&](Metric metric, const Labels& labels, uint64_t value) {
    scrape->Add(metric, labels, static_cast<double>(value));
  };
  add(Metric::kStep, memory, figures.step.value);
  add(Metric::kTurn, memory, figures.turn.value);
  scrape->Add(Metric::kLoaded, memory, LoadedRatio(figures));
  AddAges(figures, memory, scrape);
  if (const uint64_t looked_at = figures.recall_found + figures.recall_missed; looked_at > 0) {
    scrape->Add(Metric::kLiveRecall, memory,
                static_cast<double>(figures.recall_found) / static_cast<double>(looked_at));
  }
  for (size_t s = 0; s < figures.shard_loads.size(); ++s) {
    const ShardLoad& load = figures.shard_loads[s];
    const Labels shard = With(memory, "shard", absl::StrCat(s));
    add(Metric::kShardSlotsLive, shard, load.live_count);
    add(Metric::kShardRows, With(shard, "what", "searched"), load.searched_rows);
    add(Metric::kShardRows, With(shard, "what", "written"), load.written_slots);
  }
  if (figures.last_snapshot == absl::InfinitePast()) return;
  scrape->Add(Metric::kSnapshotLastSuccess, memory,
              static_cast<double>(absl::ToUnixMillis(figures.last_snapshot)) / 1000);
  add(Metric::kSnapshotBytes, memory, figures.last_snapshot_bytes);
}

}  // namespace

void AddMemories(const std::vector<MemoryFigures>& memories,
                 const std::function<std::string(const std::string&)>& label_of, Scrape* scrape) {
  for (const MemoryFigures& figures : memories) {
    const std::string label = label_of(figures.name);
    const Labels memory = {{"memory", label}};
    const auto add = [&](Metric metric, const Labels& labels, uint64_t value) {
      scrape->Add(metric, labels, static_cast<double>(value));
    };
    add(Metric::kMailboxRows, memory, figures.mailbox_rows);
    add(Metric::kSlotsLive, memory, figures.live_count);
    add(Metric::kSlotsCapacity, memory, figures.spec.capacity);
    add(Metric::kValuesDistinct, memory, figures.distinct_values);
    add(Metric::kRamBytes, memory, figures.ram_bytes);
    add(Metric::kStoredBytes, memory, figures.stored_bytes);
    add(Metric::kUncertifiedRows, memory, figures.uncertified_rows);
    add(Metric::kAuditSlots, memory, figures.audit.slots);
    add(Metric::kAuditDifferences, With(memory, "what", "index"), figures.audit.index_differences);
    add(Metric::kAuditDifferences, With(memory, "what", "store"), figures.audit.store_differences);
    for (const auto& [device, bytes] : figures.device_bytes) {
      add(Metric::kGpuMemoryBytes, {{"device", absl::StrCat(device)}}, bytes);
    }
    for (const char* alarm : kAlarmNames) {
      add(Metric::kAlarmActive, With(memory, "alarm", alarm), AlarmsOf(figures).count(alarm));
    }
    if (figures.spec.durability != SpecDurability::kMemory) AddStore(figures.store, memory, scrape);
    if (label != kOtherMemory) AddNamed(figures, memory, scrape);
  }
}

void AddServer(const ServerFigures& figures, Scrape* scrape) {
  const auto add = [&](Metric metric, uint64_t value) { scrape->Add(metric, {}, static_cast<double>(value)); };
  add(Metric::kReady, figures.ready);
  add(Metric::kDiskFreeBytes, figures.disk_free_bytes);
  add(Metric::kDiskReserveBytes, figures.disk_reserve_bytes);
  add(Metric::kRamPlannedBytes, figures.ram_planned_bytes);
  add(Metric::kRamBudgetBytes, figures.ram_budget_bytes);
  add(Metric::kRocksDbCacheBytes, figures.cache_bytes);
  add(Metric::kRocksDbCacheCapacityBytes, figures.cache_capacity_bytes);
  add(Metric::kRocksDbCacheHits, figures.cache_hits);
  add(Metric::kRocksDbCacheMisses, figures.cache_misses);
  add(Metric::kRocksDbWriteBufferBytes, figures.write_buffer_bytes);
  add(Metric::kRocksDbWriteBufferCapacityBytes, figures.write_buffer_capacity_bytes);
}

void AddProcess(Scrape* scrape) {
  const ProcessFigures figures = ReadProcessFigures();
  scrape->Add(Metric::kProcessCpu, {}, figures.cpu_seconds);
  scrape->Add(Metric::kProcessResident, {}, figures.resident_bytes);
  scrape->Add(Metric::kProcessVirtual, {}, figures.virtual_bytes);
  scrape->Add(Metric::kProcessOpenFds, {}, figures.open_fds);
  scrape->Add(Metric::kProcessMaxFds, {}, figures.max_fds);
  scrape->Add(Metric::kProcessStart, {}, figures.start_time_seconds);
  scrape->Add(Metric::kProcessThreads, {}, figures.threads);
  scrape->Add(Metric::kAllocatorUsedBytes, {}, figures.heap_used_bytes);
  scrape->Add(Metric::kAllocatorHeldBytes, {}, figures.heap_held_bytes);
}

}  // namespace evoke
