// From a store to a memory that can take turns.
//
// meta -> scan the partitions, every row's checksum verified -> slot tables, age order, value index -> state hash and
// live count against the meta row -> index -> sessions. Runs no turn records: they are history, the rows are the state.
//
// Threads: blocks; for a thread that may (the io scheduler). A shard is read, checked and put in order by one thread,
// as many shards at a time as there are cores. Failure: DATA_LOSS naming what does not fit; nothing on disk is changed.
// Cost: with two shards and two free cores about what RocksDB takes to read the rows once (tests/bench/recovery_bench.cc).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/thread_pool.h"
#include "server/engine/engine.h"
#include "storage/slot_store.h"

namespace evoke {

struct RecoveryProgress {
  std::atomic<uint64_t> slots_to_load{0};
  std::atomic<uint64_t> slots_loaded{0};
};

struct RecoveryOptions {
  std::string name;
  MemorySpec spec;
  EngineOptions engine;
  const SlotStore* store = nullptr;
  Scheduler* compute = nullptr;  // for the shards' searches; must outlive what is recovered
  size_t cores = 1;              // threads of `compute`
  Scheduler* io = nullptr;       // where shards are read beside each other; null: one after the other
  RecoveryProgress* progress = nullptr;
};

struct Recovered {
  EngineState state;
  std::unique_ptr<ShardSet> shards;
  Sessions sessions;
};

absl::StatusOr<Recovered> Recover(const RecoveryOptions& options);

}  // namespace evoke
