#include "storage/rocksdb_resources.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/rate_limiter.h"
#include "rocksdb/statistics.h"
#include "rocksdb/write_buffer_manager.h"
#include "storage/rocksdb_status.h"

namespace evoke {

std::shared_ptr<RocksDbResources> RocksDbResources::Create(const Options& options) {
  auto shared = std::make_shared<RocksDbResources>();
  shared->env = options.env != nullptr ? options.env : rocksdb::Env::Default();
  shared->tune = options.tune;
  shared->env->SetBackgroundThreads(std::max(1, options.background_threads), rocksdb::Env::Priority::LOW);
  shared->env->SetBackgroundThreads(1, rocksdb::Env::Priority::HIGH);
  shared->block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  shared->write_buffers = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
  // One for all stores: of its own each would take tens of kilobytes a core. Without timers it costs an increment an event.
  shared->statistics = rocksdb::CreateDBStatistics();
  shared->statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  if (options.background_bytes_per_second > 0) {
    shared->rate_limiter.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(options.background_bytes_per_second)));
  }
  return shared;
}

RocksDbResources::Figures RocksDbResources::Read() const {
  return {.cache_bytes = block_cache->GetUsage(),
          .cache_capacity_bytes = block_cache->GetCapacity(),
          .cache_hits = statistics->getTickerCount(rocksdb::BLOCK_CACHE_HIT),
          .cache_misses = statistics->getTickerCount(rocksdb::BLOCK_CACHE_MISS),
          .write_buffer_bytes = write_buffers->memory_usage(),
          .write_buffer_capacity_bytes = write_buffers->buffer_size()};
}

absl::Status FromRocksDb(const std::string& what, const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (status.IsIOError() || status.IsNoSpace() || status.IsBusy() || status.IsTimedOut() ||
      status.IsTryAgain() || status.IsShutdownInProgress() || status.IsAborted() || status.IsIncomplete()) {
    return absl::UnavailableError(message);
  }
  return absl::InternalError(message);
}

}  // namespace evoke
