// Mailbox, deadlines, waiting for a turn, and what happens when a commit fails: the memory without gRPC.
#include "server/engine/memory_executor.h"

#include <gtest/gtest.h>

#include <cstring>

#include "server/base/errors.h"
#include "server/similarity/similarity.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/testing/faulty_slot_store.h"
#include "tests/testing/manual_clock.h"

namespace evoke::testing {
namespace {

const MemoryUid kUid = MemoryUid::FromView("executor-memory1");

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
    executor = MemoryExecutor::Create({.name = "m",
                                       .uid = kUid,
                                       .spec = spec,
                                       .engine = engine,
                                       .compute = &compute_,
                                       .io = &io_,
                                       .clock = &clock,
                                       .cores = 2,
                                       .open_store = [this](bool read_only) { return Open(read_only); },
                                       .probe = std::move(probe)});
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

  const MemorySpec spec{.key_dim = 4, .capacity = 8, .partitions = 4, .durability = SpecDurability::kWal};
  std::shared_ptr<SharedFaults> faults = std::make_shared<SharedFaults>();
  ManualClock clock;
  ThreadPool compute_{"compute", 2};
  ThreadPool io_{"io", 2};
  std::string path_;
  std::unique_ptr<EngineProbe> probe;  // of the next Start
  std::shared_ptr<MemoryExecutor> executor;
};

TEST_F(MemoryExecutorTest, AnswersAndRemembersAcrossRecovery) {
  Start();
  EXPECT_EQ(Train(1, 1), "turn 1");
  EXPECT_EQ(Train(2, 2), "turn 2");
  const InspectReply before = Inspect();
  Close();
  Start({.shards = 3});
  const InspectReply after = Inspect();
  EXPECT_EQ(after.state_hash, before.state_hash);
  EXPECT_EQ(after.state.step, Step(2));
  EXPECT_EQ(after.live_count, 2u);
  EXPECT_EQ(after.distinct_values, 2u);
  EXPECT_EQ(Train(2, 2), "turn 2");  // a retry across the restart
}

TEST_F(MemoryExecutorTest, ACommitThatFailedBeforeItWroteIsAppliedByTheRetry) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->next_commit = SharedFaults::Commit::kFailsBefore;
  EXPECT_EQ(Train(2, 2), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kServing);
  EXPECT_EQ(Inspect().state.step, Step(1));
  EXPECT_EQ(Train(2, 2), "turn 2");
  EXPECT_EQ(Inspect().state.step, Step(2));
}

TEST_F(MemoryExecutorTest, ACommitThatFailedAfterItWroteIsNotAppliedTwiceByTheRetry) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->next_commit = SharedFaults::Commit::kFailsAfter;
  EXPECT_EQ(Train(2, 2), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kServing);
  EXPECT_EQ(Inspect().state.step, Step(2));
  EXPECT_EQ(Train(2, 2), "turn 2");
  EXPECT_EQ(Inspect().state.step, Step(2));
}

TEST_F(MemoryExecutorTest, AReadThatWasAnsweredIsNotAnsweredAgainWhenItsTurnsCommitFails) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->commits_wait = true;
  Answer<std::string> first, mutation;
  Answer<QueryReply> query;
  Answer<InspectReply> inspect;
  Answer<SlotsReply> slots;
  executor->Submit(Observe(1, 2, &first));
  while (faults->commits < 2) std::this_thread::yield();
  // These share the next turn.
  executor->Submit(Query(1, &query));
  executor->Submit({.call = InspectCall{.done = inspect.Done()}});
  executor->Submit({.call = SlotsCall{.slots = {0}, .limit = 1, .done = slots.Done()}});
  executor->Submit(Observe(2, 3, &mutation));
  faults->fail_commit_number = 3;
  faults->commits_wait = false;
  EXPECT_EQ(first.Reason(), "OK");
  EXPECT_EQ(mutation.Reason(), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kServing);
  EXPECT_TRUE(query.Wait().ok());
  EXPECT_EQ(query.calls() + inspect.calls() + slots.calls() + mutation.calls(), 4);
}

TEST_F(MemoryExecutorTest, APayloadThatCannotBeReadFailsItsQueryAndNothingElse) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->payloads_are_damaged = true;
  Answer<QueryReply> query;
  executor->Submit(Query(1, &query, /*payloads=*/true));
  EXPECT_EQ(query.Wait().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(query.Reason(), "CORRUPT_ROW");
  EXPECT_EQ(executor->figures().state, MemoryState::kServing);
  EXPECT_EQ(Train(2, 2), "turn 2");
}

TEST_F(MemoryExecutorTest, AStoreThatCannotBeWrittenIsStillRead) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->open_for_writing_fails = true;
  faults->next_commit = SharedFaults::Commit::kFailsBefore;
  EXPECT_EQ(Train(2, 2), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kReadOnly);
  EXPECT_EQ(Train(2, 2), "READ_ONLY_DISK");
  EXPECT_EQ(Inspect().state.step, Step(1));
  EXPECT_EQ(Train(1, 0), "turn 1");  // a read
}

TEST_F(MemoryExecutorTest, ItWritesAgainByItselfOnceItsStoreCanBeWritten) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->open_for_writing_fails = true;
  faults->next_commit = SharedFaults::Commit::kFailsAfter;
  EXPECT_EQ(Train(2, 2), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kReadOnly);
  faults->open_for_writing_fails = false;
  while (executor->figures().state != MemoryState::kServing) {
    clock.Advance(absl::Milliseconds(500));
    std::this_thread::yield();
  }
  EXPECT_EQ(Train(2, 2), "turn 2");
  EXPECT_EQ(Inspect().state.step, Step(2));
}

TEST_F(MemoryExecutorTest, DamageThatACommitMeetsFailsTheMemoryInsteadOfReloadingItForEver) {
  Start();
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->next_commit = SharedFaults::Commit::kFindsDamage;
  EXPECT_EQ(Train(2, 2), "COMMIT_UNKNOWN");
  EXPECT_EQ(Train(2, 2), "CORRUPT_MEMORY");
  EXPECT_EQ(Train(1, 0), "CORRUPT_MEMORY");
  EXPECT_EQ(executor->figures().state, MemoryState::kFailed);
  EXPECT_EQ(executor->figures().why.message(), "injected: 000007.sst");
}

TEST_F(MemoryExecutorTest, AFullMailboxRefusesWithADelay) {
  Start({.shards = 1, .mailbox_rows = 4});
  faults->commits_wait = true;
  Answer<std::string> first, second, third;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();  // the turn is under way: what follows waits
  executor->Submit(Observe(2, 0, &second, 3));
  executor->Submit(Observe(3, 0, &third, 2));
  EXPECT_EQ(third.Reason(), "MAILBOX_FULL");
  EXPECT_TRUE(DetailOf(third.Wait().status())->retry_delay.has_value());
  faults->commits_wait = false;
  EXPECT_EQ(first.Reason(), "OK");
  EXPECT_EQ(second.Reason(), "OK");
}

TEST_F(MemoryExecutorTest, AMailboxFullOfBytesRefusesWithADelay) {
  Start({.shards = 1, .mailbox_bytes = 2000});
  faults->commits_wait = true;
  Answer<std::string> first, second, third;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  executor->Submit(Observe(2, 0, &second));
  executor->Submit(Observe(3, 0, &third, 100));
  EXPECT_EQ(third.Reason(), "MAILBOX_FULL");
  EXPECT_EQ(DetailOf(third.Wait().status())->metadata.at("field"), "bytes");
  faults->commits_wait = false;
  EXPECT_EQ(second.Reason(), "OK");
}

TEST_F(MemoryExecutorTest, OneCallOfAPoliteClientSharesTheNextTurnWithSixtyFourCallsOfAGreedyOne) {
  Start({.shards = 1, .max_turn_rows = 8});
  faults->commits_wait = true;
  std::vector<Answer<std::string>> greedy(65);
  executor->Submit(Observe(0, 1, &greedy[0]));
  while (faults->commits == 0) std::this_thread::yield();
  for (uint64_t i = 1; i < greedy.size(); ++i) executor->Submit(Observe(0, 1 + i, &greedy[i], 4));
  Answer<std::string> polite;
  Task task = Observe(1, 1, &polite, 4);
  task.client = 1;
  std::get<ObserveCall>(task.call).mutation->session = SessionId::FromView(std::string(16, 'p'));
  executor->Submit(std::move(task));
  faults->commits_wait = false;
  EXPECT_EQ(*polite.Wait(), "turn 2");
  EXPECT_EQ(*greedy[1].Wait(), "turn 2");
  EXPECT_EQ(*greedy[64].Wait(), "turn 34");  // two a turn, but for the one that the polite client was in
}

TEST_F(MemoryExecutorTest, AGreedyClientIsRefusedBeforeAPoliteOneIs) {
  Start({.shards = 1, .mailbox_rows = 64});
  faults->commits_wait = true;
  Answer<std::string> first, polite;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  std::vector<Answer<std::string>> greedy(64);
  for (auto& answer : greedy) executor->Submit(Observe(2, 0, &answer));
  EXPECT_EQ(greedy[32].Reason(), "MAILBOX_FULL");
  EXPECT_NE(greedy[32].Wait().status().message().find("its share"), std::string::npos);
  Task task = Observe(3, 0, &polite, 32);
  task.client = 1;
  executor->Submit(std::move(task));
  faults->commits_wait = false;
  EXPECT_EQ(polite.Reason(), "OK");
}

// --- audit ---------------------------------------------------------------------------------------------------------

TEST_F(MemoryExecutorTest, AnAuditOfASoundMemoryCountsNothingAndLetsTurnsPass) {
  Start({.shards = 2, .audit_slots_per_second = 4});
  for (uint64_t n = 1; n <= 12; ++n) {
    EXPECT_EQ(Train(static_cast<int64_t>(n), n), "turn " + std::to_string(n));
    clock.Advance(absl::Seconds(30));
  }
  AwaitAuditPasses(2);
  EXPECT_GE(executor->figures().audit.slots, 16u);
  EXPECT_EQ(executor->figures().audit.store_differences + executor->figures().audit.index_differences, 0u);
  EXPECT_EQ(executor->figures().audit.corrupt, "");
}

TEST_F(MemoryExecutorTest, ARowThatTheStoreHasOtherwiseIsFoundAndCountedAndStillServedAsItWas) {
  Start({.shards = 2, .index = "faiss_flat", .audit_slots_per_second = 1000});
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->slot_with_other_value = 0;
  AwaitAuditPasses(1);
  EXPECT_EQ(executor->figures().audit.store_differences, 1u);
  EXPECT_NE(executor->figures().audit.corrupt.find("slots 0;"), std::string::npos);
  EXPECT_EQ(executor->figures().state, MemoryState::kServing);
  Answer<QueryReply> query;
  executor->Submit(Query(1, &query));
  EXPECT_EQ(query.Wait()->values[0], 1);
  faults->slot_with_other_value = -1;
  AwaitAuditPasses(2);
  EXPECT_EQ(executor->figures().audit.store_differences, 1u);
  EXPECT_EQ(executor->figures().audit.corrupt, "");
}

TEST_F(MemoryExecutorTest, ARowThatTheStoreCannotReadIsFound) {
  Start({.shards = 2, .audit_slots_per_second = 1000});
  ASSERT_EQ(Train(1, 1), "turn 1");
  faults->slots_are_damaged = true;
  AwaitAuditPasses(1);
  EXPECT_GE(executor->figures().audit.store_differences, 1u);
  EXPECT_NE(executor->figures().audit.corrupt.find("checksum"), std::string::npos);
  EXPECT_EQ(Train(2, 2), "turn 2");
}

TEST_F(MemoryExecutorTest, ExpiredAndCancelledTasksDoNoWork) {
  Start();
  faults->commits_wait = true;
  Answer<std::string> first, expired, cancelled;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  Task late = Observe(2, 2, &expired);
  late.deadline = clock.Now() + absl::Seconds(1);
  executor->Submit(std::move(late));
  Task gone = Observe(2, 2, &cancelled);
  gone.cancelled = [] { return true; };
  executor->Submit(std::move(gone));
  clock.Advance(absl::Seconds(2));
  faults->commits_wait = false;
  EXPECT_EQ(expired.Reason(), "NOT_APPLIED");
  EXPECT_EQ(cancelled.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Inspect().state.step, Step(1));
  EXPECT_EQ(Train(2, 2), "turn 2");  // neither consumed its number
}

TEST_F(MemoryExecutorTest, ACancelledCallThatWaitsReachesNoTurn) {
  std::atomic<uint32_t> tasks{0}, rows{0};
  probe = std::make_unique<CountingProbe>(&tasks, &rows);
  Start();
  faults->commits_wait = true;
  Answer<std::string> first;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  std::vector<Answer<std::string>> gone(10);
  std::vector<Answer<QueryReply>> gone_queries(10);
  std::atomic<bool> cancelled{false};
  for (int i = 0; i < 10; ++i) {
    Task mutation = Observe(2, 2 + i, &gone[i], 50);
    Task query = Query(1, &gone_queries[i]);
    mutation.cancelled = query.cancelled = [&] { return cancelled.load(); };
    executor->Submit(std::move(mutation));
    executor->Submit(std::move(query));
  }
  cancelled = true;
  faults->commits_wait = false;
  for (auto& answer : gone) EXPECT_EQ(answer.Wait().status().code(), absl::StatusCode::kCancelled);
  for (auto& answer : gone_queries) EXPECT_EQ(answer.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Train(2, 2), "turn 2");  // and no number was consumed
  Close();  // every turn has reported
  EXPECT_EQ(tasks, 2u);
  EXPECT_EQ(rows, 2u);
}

TEST_F(MemoryExecutorTest, ATaskThatWaitsForATurnIsLetGoWhenItsCallerIsGone) {
  Start();
  Answer<std::string> waiting;
  std::atomic<bool> cancelled{false};
  Task task = Observe(1, 0, &waiting);
  task.min_turn = 9;
  task.cancelled = [&] { return cancelled.load(); };
  executor->Submit(std::move(task));
  Inspect();  // the task has been through a turn's door by now
  EXPECT_EQ(executor->figures().mailbox_rows, 1u);
  cancelled = true;
  Inspect();
  EXPECT_EQ(waiting.Wait().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(executor->figures().mailbox_rows, 0u);
}

TEST_F(MemoryExecutorTest, ATaskWaitsForTheTurnThatItRequires) {
  Start();
  Answer<std::string> waiting;
  Task task = Observe(1, 0, &waiting);
  task.min_turn = 2;
  executor->Submit(std::move(task));
  EXPECT_EQ(Train(1, 1), "turn 1");
  EXPECT_FALSE(waiting.come());
  EXPECT_EQ(Train(2, 2), "turn 2");
  EXPECT_EQ(*waiting.Wait(), "turn 2");
}

TEST_F(MemoryExecutorTest, ATaskWhoseTurnDoesNotComeIsToldBeforeItsDeadline) {
  Start();
  Answer<std::string> waiting;
  Task task = Observe(1, 0, &waiting);
  task.min_turn = 9;
  task.deadline = clock.Now() + absl::Seconds(5);
  executor->Submit(std::move(task));
  Inspect();  // the task has been through a turn's door by now
  clock.Advance(absl::Milliseconds(4990));
  EXPECT_EQ(waiting.Reason(), "BEHIND");
}

TEST_F(MemoryExecutorTest, StaleEpochIsRefusedButARetryFromThatEpochIsAnswered) {
  Start();
  Answer<std::string> first;
  Task task = Observe(1, 1, &first);
  task.epoch = 1;
  executor->Submit(std::move(task));
  ASSERT_EQ(*first.Wait(), "turn 1");
  Answer<std::string> cleared;
  executor->Submit({.call = ClearCall{.mutation = {.session = SessionId::FromView(std::string(16, 'c')), .number = 1},
                                      .encode = [](const ClearReply& r) { return std::to_string(r.freed_slots); },
                                      .done = cleared.Done()}});
  EXPECT_EQ(*cleared.Wait(), "1");
  EXPECT_EQ(Inspect().state.epoch, Epoch(2));
  EXPECT_EQ(Inspect().state.step, Step(1));
  EXPECT_EQ(Inspect().state_hash, Hash128{});
  Answer<std::string> retry, stale;
  Task again = Observe(1, 1, &retry);
  again.epoch = 1;
  executor->Submit(std::move(again));
  EXPECT_EQ(*retry.Wait(), "turn 1");
  Task next = Observe(1, 2, &stale);
  next.epoch = 1;
  executor->Submit(std::move(next));
  EXPECT_EQ(stale.Reason(), "STALE_MEMORY");
}

TEST_F(MemoryExecutorTest, DrainingRefusesMutationsAndFinishesWhatWasAccepted) {
  Start();
  faults->commits_wait = true;
  Answer<std::string> accepted;
  executor->Submit(Observe(1, 1, &accepted));
  while (faults->commits == 0) std::this_thread::yield();
  executor->StopMutations();
  EXPECT_EQ(Train(2, 2), "DRAINING");
  faults->commits_wait = false;
  EXPECT_EQ(*accepted.Wait(), "turn 1");
  EXPECT_EQ(Train(1, 0), "turn 1");  // reads go on
}

TEST_F(MemoryExecutorTest, DrainingRefusesAMutationThatWaitsForATurn) {
  Start();
  Answer<std::string> waiting;
  Task task = Observe(1, 1, &waiting);
  task.min_turn = 9;
  executor->Submit(std::move(task));
  Inspect();  // the task has been through a turn's door by now
  executor->StopMutations();
  EXPECT_EQ(waiting.Reason(), "DRAINING");
}

TEST_F(MemoryExecutorTest, InspectTellsNothingOfASessionThatItsTurnOnlyOpens) {
  Start();
  faults->commits_wait = true;
  Answer<std::string> first, second;
  Answer<InspectReply> inspect;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  // These share the next turn.
  Task other = Observe(2, 1, &second);
  std::get<ObserveCall>(other.call).mutation->session = SessionId::FromView(std::string(16, 'o'));
  executor->Submit(std::move(other));
  executor->Submit({.call = InspectCall{.done = inspect.Done()}});
  faults->commits_wait = false;
  ASSERT_TRUE(inspect.Wait().ok());
  EXPECT_EQ(inspect.Wait()->sessions, 1u);
  EXPECT_EQ(second.Reason(), "OK");
}

TEST_F(MemoryExecutorTest, ARefusalThatDependsOnItsOwnTurnIsNotToldBeforeTheCommit) {
  Start();
  for (const bool fails : {true, false}) {
    faults->commits = 0;
    faults->fail_commit_number = fails ? 2 : 0;
    faults->commits_wait = true;
    const uint64_t next = fails ? 2 : 4;
    Answer<std::string> first, mutation, reused;
    executor->Submit(Observe(1, next - 1, &first));
    while (faults->commits == 0) std::this_thread::yield();
    // These share the next turn.
    executor->Submit(Observe(2, next, &mutation));
    executor->Submit(Observe(3, next, &reused));
    faults->commits_wait = false;
    EXPECT_EQ(first.Reason(), "OK");
    EXPECT_EQ(mutation.Reason(), fails ? "COMMIT_UNKNOWN" : "OK");
    EXPECT_EQ(reused.Reason(), fails ? "COMMIT_UNKNOWN" : "STEP_REUSED");
    AwaitState(MemoryState::kServing);
    if (fails) {
      EXPECT_EQ(Train(2, 2), "turn 2");
    }
  }
}

TEST_F(MemoryExecutorTest, AnAcceptedTaskThatWouldWaitForATurnIsAnsweredByAClose) {
  Start();
  faults->commits_wait = true;
  Answer<std::string> first, read, mutation;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  // In the mailbox when the memory is closed.
  Task task = Observe(2, 0, &read);
  task.min_turn = 9;
  executor->Submit(std::move(task));
  task = Observe(2, 2, &mutation);
  task.min_turn = 9;
  executor->Submit(std::move(task));
  executor->StopMutations();
  Answer<bool> closed;
  executor->Close(absl::UnavailableError("closed"), [done = closed.Done()] { done(true); });
  faults->commits_wait = false;
  EXPECT_TRUE(closed.Wait().ok());
  executor.reset();
  EXPECT_EQ(first.Reason(), "OK");
  ASSERT_TRUE(read.come() && mutation.come());
  EXPECT_EQ(read.Reason(), "BEHIND");
  EXPECT_EQ(mutation.Reason(), "DRAINING");
}

TEST_F(MemoryExecutorTest, TasksThatWaitTogetherShareACommit) {
  Start();
  faults->commits_wait = true;
  Answer<std::string> first;
  executor->Submit(Observe(1, 1, &first));
  while (faults->commits == 0) std::this_thread::yield();
  std::vector<Answer<std::string>> answers(3);
  for (int i = 0; i < 3; ++i) executor->Submit(Observe(i, 2 + i, &answers[i]));
  faults->commits_wait = false;
  for (auto& answer : answers) EXPECT_EQ(*answer.Wait(), "turn 2");
  EXPECT_EQ(faults->commits, 2);
  EXPECT_EQ(Inspect().state.step, Step(4));
}

}  // namespace
}  // namespace evoke::testing
