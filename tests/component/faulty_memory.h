// One memory on a disk that fails when told, and beside it the oracle: an executor on a RocksDB on a FaultFileSystem.
//
// One client trains, one mutation after the other, each in a turn of its own: mutation n is turn n. So whatever a
// fault leaves behind can be named by its turn alone, and the oracle knows the state hash of every turn.
#pragma once

#include <gtest/gtest.h>
#include <rocksdb/env.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "server/base/errors.h"
#include "server/engine/memory_executor.h"
#include "server/similarity/similarity.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/testing/engine_driver.h"
#include "tests/testing/fault_file_system.h"
#include "tests/testing/manual_clock.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {

inline uint64_t TestSeed() {
  const char* given = std::getenv("EVOKE_TEST_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 1;
}

// What a call was answered; Wait blocks for it.
template <typename T>
class Answer {
 public:
  std::function<void(absl::StatusOr<T>)> Done() {
    return [state = state_](absl::StatusOr<T> answer) {
      MutexLock lock(&state->mu);
      state->answer = std::make_unique<absl::StatusOr<T>>(std::move(answer));
      state->come.SignalAll();
    };
  }
  const absl::StatusOr<T>& Wait() {
    MutexLock lock(&state_->mu);
    while (!state_->answer) state_->come.Wait(&state_->mu);
    return *state_->answer;
  }
  std::string Reason() { return Wait().ok() ? "OK" : DetailOf(Wait().status())->reason; }

 private:
  struct State {
    Mutex mu;
    CondVar come;
    std::unique_ptr<absl::StatusOr<T>> answer;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class FaultyMemory {
 public:
  struct Options {
    Durability durability = Durability::kFsync;
    uint64_t seed = 1;
    // So small that nearly every commit is followed by a flush, and a few flushes by a compaction.
    bool flush_often = false;
    uint64_t reserve_bytes = 0;  // of the disk guard
  };
  explicit FaultyMemory(const Options& options);
  ~FaultyMemory();

  // Opens and recovers; then what is there must be `acknowledged` turns, or one more that was sent.
  void Start();
  // Opens and recovers, and expects nothing.
  void Open();
  void Stop();
  // No power while it runs; then it stops, and the power is back.
  void LosePower(FaultFileSystem::Loss loss, uint64_t seed);

  // The next mutation; or, when the outcome of the last one is not known, that one again. Returns "OK", or why not.
  std::string Train();
  void TrainUntilOk();
  // The last acknowledged mutation once more, as a client sends it that never heard.
  std::string Resend();
  // A query of one row; "OK", or why not. With `payloads` of everything near.
  std::string Query(bool payloads = false);
  // Lets the clock run meanwhile, for the timers.
  void AwaitState(MemoryState state);

  // As a request in the order of the others sees it. Requires: it serves or is read-only.
  InspectReply Inspect() const;
  uint64_t turn() const { return Inspect().state.turn.value; }
  // Until the guard has looked at what is free now.
  void AwaitLook();
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t sent() const { return entries_.size(); }
  const std::shared_ptr<MemoryExecutor>& executor() const { return executor_; }
  FaultFileSystem& disk() { return *disk_; }
  ManualClock& clock() { return clock_; }
  // What TryWrite, the guard's, writes.
  static constexpr uint64_t kProbeBytes = 4096;
  std::string store_path() const { return folder_ + "/store"; }
  // Files of the store that end so.
  std::vector<std::string> Files(const std::string& ending) const;

  // The state is that of the oracle after some turn from `least` on that was sent. WAL: forgets later ones.
  void ExpectStateOfSomeTurnFrom(uint64_t least);

 private:
  absl::StatusOr<std::unique_ptr<SlotStore>> OpenStore(bool read_only);
  absl::Status TryWrite();
  Task NextTask(Answer<std::string>* answer) const;
  void AddEntry();

  const Options options_;
  const ModelSpec model_spec_;
  const MemorySpec spec_;
  std::string folder_;
  std::shared_ptr<FaultFileSystem> disk_;
  std::unique_ptr<rocksdb::Env> env_;
  ManualClock clock_;
  std::unique_ptr<ThreadPool> compute_;
  std::unique_ptr<ThreadPool> io_;
  RandomLog log_;
  std::unique_ptr<ModelMemory> model_;
  std::vector<LogEntry> entries_;  // of mutations 1, 2, ...
  std::vector<Hash128> hashes_;    // after as many mutations
  uint64_t acknowledged_ = 0;
  std::atomic<uint64_t> looks_{0};
  std::shared_ptr<DiskGuard> guard_;
  std::shared_ptr<MemoryExecutor> executor_;
};

}  // namespace evoke::testing
