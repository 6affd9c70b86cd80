// A whole memory without gRPC, driven turn by turn: engine, shards, index and a store, on real threads.
//
// RunTurn decides which tasks share a turn, which an executor would leave to chance. Restart throws everything in RAM
// away and recovers from the store, as after a crash. Every method blocks until the work is done.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/base/clock.h"
#include "server/base/thread_pool.h"
#include "server/engine/engine.h"
#include "server/engine/recovery.h"
#include "storage/slot_store.h"
#include "storage/turn_log.h"
#include "tests/testing/model_memory.h"
#include "tests/testing/traces.h"

namespace evoke::testing {

MemorySpec ToServerSpec(const ModelSpec& spec);
// Normalised, as the service hands rows to an engine. Rows must be legal.
RowSet PackRows(const std::vector<ModelRow>& rows, uint32_t key_dim);

class EngineDriver {
 public:
  using OpenStore = std::function<std::unique_ptr<SlotStore>()>;
  struct Options {
    ModelSpec spec;
    EngineOptions engine;
    uint32_t partitions = 8;
    size_t threads = 2;
    OpenStore open_store;  // empty: a RamSlotStore
  };
  explicit EngineDriver(Options options);
  ~EngineDriver();

  // One turn. Each task's `done` has run when it returns. Returns the engine's verdict on the turn.
  absl::Status RunTurn(std::vector<Task> tasks);

  // A labelled request as a task; the answer arrives in *result during RunTurn. Rows must be legal.
  Task ObserveTask(const std::vector<ModelRow>& rows, absl::StatusOr<ObserveReply>* result,
                   ObserveForm form = ObserveForm::kKeys, bool confidence_gradient = true);
  Task QueryTask(const std::vector<std::vector<float>>& rows, uint32_t k, absl::StatusOr<QueryReply>* result);
  Task ClearTask();
  Task SlotsTask(std::vector<uint64_t> slots, std::vector<int64_t> values, absl::StatusOr<SlotsReply>* result);

  // Requires: the store outlives its SlotStore object (a RamSlotStore does not).
  void Restart();

  const EngineState& state() const { return engine_->state(); }
  const MemorySpec& spec() const { return spec_; }
  SlotStore* store() { return store_.get(); }
  Engine* engine() { return engine_.get(); }
  // Sum over turns of what had to be asked again.
  uint64_t more_requests() const;

 private:
  class Probe;
  void Start();
  void Quiesce();
  MutationId NextMutation();

  const Options options_;
  const MemorySpec spec_;
  RealClock clock_;
  ThreadPool compute_;
  ThreadPool io_;
  Strand strand_;
  std::unique_ptr<Probe> probe_;
  std::unique_ptr<SlotStore> store_;
  std::unique_ptr<TurnLog> log_;
  std::unique_ptr<Engine> engine_;
  uint64_t number_ = 0;
  uint64_t session_ = 1;
};

// The driver as what the traces of semantics.md run on: one request a turn.
std::unique_ptr<MemoryUnderTest> MakeEngineUnderTest(EngineDriver::Options options);

// What both tell of a labelled row must be equal: to the bit, except what needs exp.
void ExpectEqualResults(const std::vector<ModelResult>& expected, const ObserveReply& actual, uint32_t key_dim);

}  // namespace evoke::testing
