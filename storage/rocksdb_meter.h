// Counts what a RocksDB does: as its listener, and by its properties when it is read. Internal to rocksdb_*.cc.
//
// Cost: two looks at a clock for each write and sync of a file; no lock, for RocksDB calls with its own held.
#pragma once

#include <array>
#include <atomic>
#include <shared_mutex>

#include "rocksdb/listener.h"
#include "storage/store_figures.h"

namespace evoke {

class RocksDbMeter final : public rocksdb::EventListener, public StoreMeter {
 public:
  // Between these two its properties are read; Detach waits for reads under way.
  void Attach(rocksdb::DB* db);
  void Detach() { Attach(nullptr); }

  StoreFigures Read() const override;

 private:
  bool ShouldBeNotifiedOnFileIO() override { return true; }
  void OnFileWriteFinish(const rocksdb::FileOperationInfo& info) override;
  void OnFileSyncFinish(const rocksdb::FileOperationInfo& info) override;
  void OnFlushCompleted(rocksdb::DB* db, const rocksdb::FlushJobInfo& info) override;
  void OnCompactionCompleted(rocksdb::DB* db, const rocksdb::CompactionJobInfo& info) override;
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override;

  // Counted apart from each other: a reader may see one of an event's numbers before the next, which metrics can bear.
  std::atomic<uint64_t> log_bytes_{0}, flushed_bytes_{0}, compacted_bytes_{0}, delays_{0}, stops_{0}, errors_{0};
  std::array<std::atomic<uint64_t>, DurationCounts::kBounds.size() + 1> syncs_{};
  std::atomic<uint64_t> sync_nanoseconds_{0};

  mutable std::shared_mutex mu_;
  rocksdb::DB* db_ = nullptr;  // guarded by mu_
};

}  // namespace evoke
