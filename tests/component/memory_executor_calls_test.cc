// Deadlines, cancellation, waiting for a turn, epochs and draining: the memory without gRPC.
#include "tests/component/memory_executor_fixture.h"

namespace evoke::testing {
namespace {

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
