// What all stores of a process share: the block cache, the budget of write buffers, and the background
// threads.
//
// Thousands of small memories then cost what one big one does. Thread-safe; outlives every store opened with
// it (each holds a reference).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace rocksdb {
class Cache;
class Env;
class RateLimiter;
class Statistics;
class WriteBufferManager;
struct Options;
}  // namespace rocksdb

namespace evoke {

struct RocksDbResources {
  struct Options {
    uint64_t block_cache_bytes = uint64_t{128} << 20;  // index and filter blocks are in it too
    uint64_t write_buffer_bytes = uint64_t{256}
                                  << 20;       // of all stores; beyond it the biggest are flushed early
    int background_threads = 2;                // for compactions; one more flushes
    uint64_t background_bytes_per_second = 0;  // flushes and compactions; 0: no limit
    rocksdb::Env* env = nullptr;               // null: the default one; tests put faults in here
    // For benchmarks: changes the options of every store that is opened.
    std::function<void(rocksdb::Options*)> tune;
  };
  static std::shared_ptr<RocksDbResources> Create(const Options& options);

  // Of all stores together, for metrics; counted since Create, or now.
  struct Figures {
    uint64_t cache_bytes = 0, cache_capacity_bytes = 0;
    uint64_t cache_hits = 0, cache_misses = 0;  // of blocks
    uint64_t write_buffer_bytes = 0, write_buffer_capacity_bytes = 0;
  };
  Figures Read() const;

  std::shared_ptr<rocksdb::Cache> block_cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  std::shared_ptr<rocksdb::RateLimiter> rate_limiter;  // may be null
  std::shared_ptr<rocksdb::Statistics> statistics;     // tickers only
  rocksdb::Env* env = nullptr;
  std::function<void(rocksdb::Options*)> tune;  // may be empty
};

}  // namespace evoke
