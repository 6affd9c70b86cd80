// A store that is as full as a memory of a benchmark, and the turns that go on overwriting it.
//
// The turns are those of a trainer with GRADIENT steps: `rows` slots get new keys, each with a payload row, and the
// reply of the step is stored while the one before it is acknowledged. State hashes are right, so what is
// committed can be recovered. Nothing that makes a turn is counted as time of its commit. Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/memory/memory_spec.h"
#include "storage/rocksdb_slot_store.h"

namespace evoke::bench {

// Small sizes, for CI: EVOKE_BENCH_SMOKE is set.
bool Smoke();
// Removed at the end; below EVOKE_BENCH_DIR or the temporary directory.
class Folder {
 public:
  Folder();
  ~Folder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};
// Machine and command, into the JSON that the benchmarks write.
void DescribeRun(int argc, char** argv);

class FullStore {
 public:
  struct Options {
    std::string path;
    MemorySpec spec;
    uint32_t rows = 64;
    uint32_t reply_bytes = 36 << 10;  // of 64 x 128 gradients and what goes with them
    RocksDbResources::Options rocksdb;
  };
  // Creates the store and fills every slot.
  explicit FullStore(Options options);
  ~FullStore();

  // Commits the next turn and says what that took, of the clock and of this thread.
  struct Cost {
    absl::Duration time;
    absl::Duration cpu;
  };
  Cost Overwrite();
  // Closes the store.
  void Close() { store_.reset(); }
  // Opens it and says how long that took.
  absl::Duration Open(bool create = false);

  const MemorySpec& spec() const { return options_.spec; }
  RocksDbSlotStore* store() { return store_.get(); }
  // Of one turn's rows, payloads, reply and record: what must be written at least.
  uint64_t turn_bytes() const { return turn_bytes_; }

 private:
  TurnRecord Begin(AdminOp admin) const;
  void Write(uint64_t slot, WriteKind kind, TurnRecord* record);
  Cost Commit(TurnRecord record);

  const Options options_;
  std::unique_ptr<RocksDbSlotStore> store_;
  std::mt19937_64 random_{1};
  std::vector<float> floats_;      // keys are pieces of it
  std::vector<Hash128> hashes_;    // [slots]
  std::vector<uint32_t> hits_;     // [slots]
  Hash128 state_hash_;
  uint64_t live_ = 0;
  uint64_t number_ = 0;
  uint64_t turn_bytes_ = 0;
};

}  // namespace evoke::bench
