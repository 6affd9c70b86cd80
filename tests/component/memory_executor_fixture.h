// A memory on a real store without gRPC, and what is asked of it: shared by the memory_executor tests.
#pragma once

#include "server/engine/memory_executor.h"

#include <gtest/gtest.h>

#include <cstring>

#include "server/base/errors.h"
#include "server/similarity/similarity.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/testing/faulty_slot_store.h"
#include "tests/testing/manual_clock.h"

namespace evoke::testing {

inline const MemoryUid kUid = MemoryUid::FromView("executor-memory1");

template <typename T>
class Answer {
 public:
  std::function<void(absl::StatusOr<T>)> Done() {
    return [state = state_](absl::StatusOr<T> answer) {
      MutexLock lock(&state->mu);
      state->answer = std::make_unique<absl::StatusOr<T>>(std::move(answer));
      ++state->calls;
      state->come.SignalAll();
    };
  }
  const absl::StatusOr<T>& Wait() {
    MutexLock lock(&state_->mu);
    while (!state_->answer) state_->come.Wait(&state_->mu);
    return *state_->answer;
  }
  int calls() {
    MutexLock lock(&state_->mu);
    return state_->calls;
  }
  bool come() {
    MutexLock lock(&state_->mu);
    return state_->answer != nullptr;
  }
  std::string Reason() { return Wait().ok() ? "OK" : DetailOf(Wait().status())->reason; }

 private:
  struct State {
    Mutex mu;
    CondVar come;
    std::unique_ptr<absl::StatusOr<T>> answer;
    int calls = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Counts what entered turns.
class CountingProbe final : public EngineProbe {
 public:
  CountingProbe(std::atomic<uint32_t>* tasks, std::atomic<uint32_t>* rows) : tasks_(*tasks), rows_(*rows) {}
  void OnTurn(const TurnReport& report) override {
    tasks_ += report.tasks;
    rows_ += report.rows;
  }
  void OnRejected(std::string_view) override {}

 private:
  std::atomic<uint32_t>& tasks_;
  std::atomic<uint32_t>& rows_;
};

class MemoryExecutorTest : public ::testing::Test {
 protected:
  MemoryExecutorTest() {
    static int count = 0;
    path_ = ::testing::TempDir() + "/executor-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
  }
  ~MemoryExecutorTest() override {
    if (executor) Close();
    EXPECT_TRUE(RocksDbSlotStore::Destroy(path_).ok());
  }

  void Start(EngineOptions engine = {.shards = 2}) {
    engine.turns_in_flight = turns_in_flight;
    executor = MemoryExecutor::Create({.name = "m",
                                       .uid = kUid,
                                       .spec = spec,
                                       .engine = engine,
                                       .compute = &compute_,
                                       .io = &io_,
                                       .clock = &clock,
                                       .cores = 2,
                                       .always_overlap = true,
                                       .open_store = [this](bool read_only) { return Open(read_only); },
                                       .probe = std::move(probe),
                                       .on_state_change = on_state_change});
    executor->Recover();
    ASSERT_EQ(executor->figures().state, MemoryState::kServing) << executor->figures().why;
  }

  absl::StatusOr<std::unique_ptr<SlotStore>> Open(bool read_only) {
    if (!read_only && faults->open_for_writing_fails) return absl::UnavailableError("injected: no space");
    auto store = RocksDbSlotStore::Open({.path = path_,
                                         .uid = kUid,
                                         .key_dim = spec.key_dim,
                                         .partitions = spec.partitions,
                                         .payload_history = spec.payload_history,
                                         .durability = Durability::kWal,
                                         .spec_digest = SpecDigest(spec),
                                         .create = !read_only,
                                         .read_only = read_only});
    if (!store.ok()) return store.status();
    return std::make_unique<FaultySlotStore>(*std::move(store), faults);
  }

  void Close() {
    Answer<bool> closed;
    executor->Close(absl::UnavailableError("closed"), [done = closed.Done()] { done(true); });
    EXPECT_TRUE(closed.Wait().ok());
    executor.reset();
  }

  // One row along axis `value mod key_dim`; number 0: a read.
  Task Observe(int64_t value, uint64_t number, Answer<std::string>* answer, size_t rows = 1) {
    ObserveCall call;
    call.rows.dim = spec.key_dim;
    call.rows.unit.assign(rows * spec.key_dim, 0);
    for (size_t r = 0; r < rows; ++r) call.rows.unit[r * spec.key_dim + value % spec.key_dim] = 1;
    call.rows.norms.assign(rows, 1);
    call.rows.skip.assign(rows, 0);
    call.values.assign(rows, value);
    call.write.assign(rows, number > 0);
    if (number > 0) {
      call.mutation = MutationId{.session = SessionId::FromView(std::string(16, 's')),
                                 .number = number,
                                 .first_unacknowledged = number,
                                 .digest = {.low = static_cast<uint64_t>(value)}};
    }
    call.encode = [](const ObserveReply& r) { return "turn " + std::to_string(r.state.turn.value); };
    call.done = answer->Done();
    return {.call = std::move(call)};
  }

  Task Query(int64_t value, Answer<QueryReply>* answer, bool payloads = false) {
    QueryCall call{.k = 1, .inverse_temperature = 40, .neighbors = payloads, .payloads = payloads, .done = answer->Done()};
    call.rows.dim = spec.key_dim;
    call.rows.unit.assign(spec.key_dim, 0);
    call.rows.unit[value % spec.key_dim] = 1;
    call.rows.norms = {1};
    call.rows.skip = {0};
    return {.call = std::move(call)};
  }

  std::string Train(int64_t value, uint64_t number) {
    Answer<std::string> answer;
    executor->Submit(Observe(value, number, &answer));
    return answer.Wait().ok() ? *answer.Wait() : answer.Reason();
  }

  InspectReply Inspect() {
    Answer<InspectReply> answer;
    executor->Submit({.call = InspectCall{.done = answer.Done()}});
    EXPECT_TRUE(answer.Wait().ok()) << answer.Wait().status();
    return *answer.Wait();
  }

  void AwaitState(MemoryState state) {
    while (executor->figures().state != state) std::this_thread::yield();
  }

  // Lets time pass until the audit has been over all slots so many times.
  void AwaitAuditPasses(uint64_t passes) {
    while (executor->figures().audit.passes < passes) {
      clock.Advance(absl::Seconds(1));
      std::this_thread::yield();
    }
  }

  uint32_t turns_in_flight = 1;  // so what comes while a commit waits is in the mailbox
  const MemorySpec spec{.key_dim = 4, .capacity = 8, .partitions = 4, .durability = SpecDurability::kWal};
  std::shared_ptr<SharedFaults> faults = std::make_shared<SharedFaults>();
  ManualClock clock;
  ThreadPool compute_{"compute", 2};
  ThreadPool io_{"io", 2};
  std::string path_;
  std::function<void()> on_state_change;
  std::unique_ptr<EngineProbe> probe;  // of the next Start
  std::shared_ptr<MemoryExecutor> executor;
};

}  // namespace evoke::testing
