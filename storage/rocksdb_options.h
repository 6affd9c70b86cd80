// How the RocksDB of every store is set up: for overwrites of rows of one size, and a log that ends anywhere.
//
// Chosen by measurement: README.md, "Measured"; tests/bench/commit_bench.cc measures them again. Internal to rocksdb_*.cc.
#pragma once

#include "rocksdb/options.h"
#include "storage/rocksdb_resources.h"

namespace evoke {

rocksdb::Options DatabaseOptions(const RocksDbResources& shared);

}  // namespace evoke
