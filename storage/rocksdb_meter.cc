#include "storage/rocksdb_meter.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string_view>

#include "rocksdb/db.h"

namespace evoke {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Tables and manifests are written and synced too.
bool IsLog(const rocksdb::FileOperationInfo& info) {
  const std::string_view path = info.path;
  return path.size() > 4 && path.substr(path.size() - 4) == ".log";
}

uint64_t Property(rocksdb::DB* db, const std::string& name) {
  uint64_t value = 0;
  return db->GetIntProperty(name, &value) ? value : 0;
}

}  // namespace

void RocksDbMeter::Attach(rocksdb::DB* db) {
  const std::unique_lock lock(mu_);
  db_ = db;
}

StoreFigures RocksDbMeter::Read() const {
  StoreFigures figures;
  figures.log_bytes = log_bytes_.load(kRelaxed);
  for (size_t i = 0; i < syncs_.size(); ++i) figures.log_syncs.counts[i] = syncs_[i].load(kRelaxed);
  figures.log_syncs.sum_seconds = static_cast<double>(sync_nanoseconds_.load(kRelaxed)) * 1e-9;
  figures.flushed_bytes = flushed_bytes_.load(kRelaxed);
  figures.compacted_bytes = compacted_bytes_.load(kRelaxed);
  figures.write_delays = delays_.load(kRelaxed);
  figures.write_stops = stops_.load(kRelaxed);
  figures.background_errors = errors_.load(kRelaxed);

  const std::shared_lock lock(mu_);
  if (db_ == nullptr) return figures;
  using Names = rocksdb::DB::Properties;
  figures.memtable_bytes = Property(db_, Names::kSizeAllMemTables);
  figures.table_bytes = Property(db_, Names::kLiveSstFilesSize);
  std::string level0;
  if (db_->GetProperty(Names::kNumFilesAtLevelPrefix + "0", &level0)) figures.level0_files = std::stoull(level0);
  figures.pending_compaction_bytes = Property(db_, Names::kEstimatePendingCompactionBytes);
  figures.running_flushes = Property(db_, Names::kNumRunningFlushes);
  figures.running_compactions = Property(db_, Names::kNumRunningCompactions);
  return figures;
}

void RocksDbMeter::OnFileWriteFinish(const rocksdb::FileOperationInfo& info) {
  if (IsLog(info)) log_bytes_.fetch_add(info.length, kRelaxed);
}

void RocksDbMeter::OnFileSyncFinish(const rocksdb::FileOperationInfo& info) {
  if (!IsLog(info)) return;
  const auto nanoseconds = static_cast<uint64_t>(info.duration.count());
  const auto& bounds = DurationCounts::kBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), static_cast<double>(nanoseconds) * 1e-9);
  syncs_[static_cast<size_t>(bucket - bounds.begin())].fetch_add(1, kRelaxed);
  sync_nanoseconds_.fetch_add(nanoseconds, kRelaxed);
}

void RocksDbMeter::OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo& info) {
  const rocksdb::TableProperties& table = info.table_properties;
  flushed_bytes_.fetch_add(table.data_size + table.index_size + table.filter_size, kRelaxed);
}

void RocksDbMeter::OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo& info) {
  compacted_bytes_.fetch_add(info.stats.total_output_bytes, kRelaxed);
}

void RocksDbMeter::OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) {
  if (info.condition.cur == rocksdb::WriteStallCondition::kDelayed) delays_.fetch_add(1, kRelaxed);
  if (info.condition.cur == rocksdb::WriteStallCondition::kStopped) stops_.fetch_add(1, kRelaxed);
}

void RocksDbMeter::OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) {
  errors_.fetch_add(1, kRelaxed);
}

}  // namespace evoke
