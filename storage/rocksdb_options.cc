#include "storage/rocksdb_options.h"

#include <memory>

#include "rocksdb/filter_policy.h"
#include "rocksdb/listener.h"
#include "rocksdb/table.h"

namespace evoke {
namespace {

// After an error the store is closed and opened again, which alone is sure to help. RocksDB's own attempts beside that
// change files under it, and in 7.8 closing a store during one can wait for ever.
class NoRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

}  // namespace

rocksdb::Options DatabaseOptions(const RocksDbResources& shared) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = shared.block_cache;
  // In the cache, so that memory is bounded for any number of stores.
  table.cache_index_and_filter_blocks = true;
  table.block_size = 16 << 10;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));  // payloads are read one by one
  table.format_version = 5;

  rocksdb::Options db;
  db.env = shared.env;
  db.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  db.write_buffer_manager = shared.write_buffers;
  db.rate_limiter = shared.rate_limiter;
  db.statistics = shared.statistics;
  db.compression = rocksdb::kNoCompression;  // unit vectors do not compress
  db.write_buffer_size = 64 << 20;
  db.max_write_buffer_number = 4;
  db.level_compaction_dynamic_level_bytes = true;
  db.paranoid_checks = true;
  // Power loss tears the tail of the log of a kWal memory, and leaves garbage or zeros there. What follows
  // the first torn batch was never acknowledged as durable; a stricter mode would refuse to start.
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  db.recycle_log_file_num = 0;
  db.max_open_files = 256;
  db.bytes_per_sync = 1 << 20;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.listeners.push_back(std::make_shared<NoRecovery>());
  db.max_bgerror_resume_count = 0;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  if (shared.tune) shared.tune(&db);
  return db;
}

}  // namespace evoke
