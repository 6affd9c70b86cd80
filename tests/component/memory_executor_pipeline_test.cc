// Turns that overlap their commits: what goes on while a commit waits, and what nobody may hear of before it has ended.
#include <array>

#include "tests/component/memory_executor_fixture.h"

namespace evoke::testing {
namespace {

class MemoryExecutorPipelineTest : public MemoryExecutorTest {
 protected:
  void StartWithTurnsInFlight(uint32_t turns, uint32_t max_turn_rows = 1) {
    turns_in_flight = turns;
    Start({.shards = 2, .max_turn_rows = max_turn_rows, .at_edge = [this](TurnEdge edge) { ++edges[static_cast<int>(edge)]; }});
  }
  // Until the edge was passed so often.
  void Await(TurnEdge edge, int times) {
    while (edges[static_cast<int>(edge)] < times) std::this_thread::yield();
  }
  // A mutation whose commit waits.
  void BeginCommit(int64_t value, uint64_t number, Answer<std::string>* answer) {
    faults->commits_wait = true;
    const int before = faults->commits;
    executor->Submit(Observe(value, number, answer));
    while (faults->commits == before) std::this_thread::yield();
  }

  std::array<std::atomic<int>, 10> edges{};
};

TEST_F(MemoryExecutorPipelineTest, TheNextTurnIsDecidedAndAppliedWhileACommitSyncs) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first, second;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 2, &second));
  Await(TurnEdge::kApplied, 2);
  EXPECT_FALSE(first.come());
  EXPECT_FALSE(second.come());
  EXPECT_EQ(executor->figures().turn, Turn(0));
  faults->commits_wait = false;
  EXPECT_EQ(*first.Wait(), "turn 1");
  EXPECT_EQ(*second.Wait(), "turn 2");
}

TEST_F(MemoryExecutorPipelineTest, NoMoreTurnsAreInFlightThanTheOptionSays) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first, second, third;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 2, &second));
  Await(TurnEdge::kApplied, 2);
  executor->Submit(Observe(3, 3, &third));
  EXPECT_EQ(executor->figures().mailbox_rows, 1u);
  EXPECT_EQ(edges[static_cast<int>(TurnEdge::kAdmitted)], 2);
  faults->commits_wait = false;
  EXPECT_EQ(*third.Wait(), "turn 3");
}

TEST_F(MemoryExecutorPipelineTest, SixteenNumbersOfASessionAreAppliedOnceWhileNoneIsAnswered) {
  StartWithTurnsInFlight(16);
  std::vector<Answer<std::string>> answers(16);
  BeginCommit(1, 1, &answers[0]);
  for (uint64_t n = 2; n <= 16; ++n) {
    Task task = Observe(static_cast<int64_t>(n), n, &answers[n - 1]);
    std::get<ObserveCall>(task.call).mutation->first_unacknowledged = 1;
    executor->Submit(std::move(task));
  }
  Await(TurnEdge::kApplied, 16);
  faults->commits_wait = false;
  for (uint64_t n = 1; n <= 16; ++n) EXPECT_EQ(*answers[n - 1].Wait(), "turn " + std::to_string(n));
  EXPECT_LT(faults->commits, 16) << "turns that wait share a sync";
}

TEST_F(MemoryExecutorPipelineTest, AReadThatSawATurnIsAnsweredAfterItsCommit) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first;
  Answer<QueryReply> read;
  BeginCommit(1, 1, &first);
  executor->Submit(Query(1, &read));
  Await(TurnEdge::kReadsKnown, 2);
  EXPECT_FALSE(read.come());
  faults->commits_wait = false;
  ASSERT_TRUE(read.Wait().ok());
  EXPECT_EQ(read.Wait()->state.turn, Turn(1));
  EXPECT_TRUE(first.come());
}

TEST_F(MemoryExecutorPipelineTest, AReadBesideAWriteIsAnsweredOnceTheCommitIsUnderWay) {
  StartWithTurnsInFlight(1, /*max_turn_rows=*/2);
  Answer<std::string> first, second;
  Answer<QueryReply> read;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 2, &second));
  Task query = Query(1, &read);
  int committing = 0;
  std::get<QueryCall>(query.call).done = [&, done = read.Done()](absl::StatusOr<QueryReply> reply) {
    committing = edges[static_cast<int>(TurnEdge::kCommitting)];
    done(std::move(reply));
  };
  executor->Submit(std::move(query));
  faults->commits_wait = false;
  ASSERT_TRUE(read.Wait().ok());
  EXPECT_EQ(read.Wait()->state.turn, Turn(1)) << "what it reads is the state before the write";
  EXPECT_EQ(committing, 2);
  EXPECT_EQ(*second.Wait(), "turn 2");
}

TEST_F(MemoryExecutorPipelineTest, APayloadIsReadWhenTheTurnThatWroteItIsStored) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first;
  Answer<QueryReply> read;
  Task task = Observe(1, 1, &first);
  std::get<ObserveCall>(task.call).payloads = {"a photograph"};
  faults->commits_wait = true;
  executor->Submit(std::move(task));
  while (faults->commits == 0) std::this_thread::yield();
  executor->Submit(Query(1, &read, /*payloads=*/true));
  Await(TurnEdge::kProposed, 2);
  faults->commits_wait = false;
  ASSERT_TRUE(read.Wait().ok()) << read.Wait().status();
  ASSERT_EQ(read.Wait()->payloads.size(), 1u);
  EXPECT_EQ(read.Wait()->payloads[0].payloads[0].bytes, "a photograph");
}

TEST_F(MemoryExecutorPipelineTest, ARetryOfATurnThatIsNotDurableGetsItsReplyWhenItIs) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first, retry;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(1, 1, &retry));
  Await(TurnEdge::kProposed, 2);
  EXPECT_FALSE(retry.come());
  faults->commits_wait = false;
  EXPECT_EQ(*retry.Wait(), "turn 1");
  EXPECT_EQ(Inspect().state.step, Step(1));
}

TEST_F(MemoryExecutorPipelineTest, ARefusalForWhatIsNotDurableIsToldWhenItIs) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first, reused;
  Answer<InspectReply> inspect;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 1, &reused));
  Await(TurnEdge::kReadsKnown, 2);
  EXPECT_FALSE(reused.come());
  faults->commits_wait = false;
  EXPECT_EQ(reused.Reason(), "STEP_REUSED");
}

TEST_F(MemoryExecutorPipelineTest, AFailedCommitTakesTheTurnsAfterItWithItAndTheirRetriesAreApplied) {
  StartWithTurnsInFlight(3);
  faults->next_commit = SharedFaults::Commit::kFailsBefore;
  Answer<std::string> first, second;
  Answer<QueryReply> read;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 2, &second));
  executor->Submit(Query(1, &read));
  Await(TurnEdge::kReadsKnown, 3);
  faults->commits_wait = false;
  EXPECT_EQ(first.Reason(), "COMMIT_UNKNOWN");
  EXPECT_EQ(second.Reason(), "COMMIT_UNKNOWN");
  EXPECT_EQ(read.Reason(), "COMMIT_UNKNOWN");
  AwaitState(MemoryState::kServing);
  EXPECT_EQ(executor->figures().turn, Turn(0));
  EXPECT_EQ(Train(1, 1), "turn 1");
  EXPECT_EQ(Train(2, 2), "turn 2");
}

TEST_F(MemoryExecutorPipelineTest, CloseWaitsForEveryTurnInFlight) {
  StartWithTurnsInFlight(2);
  Answer<std::string> first, second;
  Answer<bool> closed;
  BeginCommit(1, 1, &first);
  executor->Submit(Observe(2, 2, &second));
  Await(TurnEdge::kApplied, 2);
  executor->Close(absl::UnavailableError("closed"), [done = closed.Done()] { done(true); });
  EXPECT_FALSE(closed.come());
  faults->commits_wait = false;
  EXPECT_TRUE(closed.Wait().ok());
  EXPECT_TRUE(first.come());
  EXPECT_TRUE(second.come());
  executor.reset();
}

}  // namespace
}  // namespace evoke::testing
