// What happens when a commit fails or the disk refuses, who shares a mailbox, slow turns, and the audit: the memory
// without gRPC.
#include <nlohmann/json.hpp>

#include "server/engine/slow_turns.h"
#include "tests/component/memory_executor_fixture.h"
#include "tests/testing/log_capture.h"

namespace evoke::testing {
namespace {

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

TEST_F(MemoryExecutorTest, AServerMayStopBetweenTheWordThatAMemoryServesAndTheEndOfItsRecovery) {
  Answer<bool> closed;
  on_state_change = [&] {
    if (executor->figures().state != MemoryState::kServing) return;
    executor->Close(absl::UnavailableError("closed"), [done = closed.Done()] { done(true); });
  };
  Start();
  EXPECT_TRUE(closed.Wait().ok());
  executor.reset();
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

// --- slow turns ----------------------------------------------------------------------------------------------------

TEST_F(MemoryExecutorTest, ATurnWhoseCommitTakesLongIsToldWithItsPhasesAndTheRequestsInIt) {
  const LogCapture log;
  Start({.shards = 1, .slow_turns = std::make_shared<SlowTurns>(absl::Seconds(1))});
  EXPECT_EQ(Train(1, 1), "turn 1");
  faults->commits_wait = true;
  Answer<std::string> answer;
  Task task = Observe(2, 2, &answer);
  task.tag = std::make_shared<RequestTag>(RequestTag{.request_id = "order-66", .trace_id = "", .span_id = ""});
  executor->Submit(std::move(task));
  while (faults->commits == 1) std::this_thread::yield();
  clock.Advance(absl::Seconds(5));
  faults->commits_wait = false;
  EXPECT_EQ(*answer.Wait(), "turn 2");
  Close();

  const nlohmann::json line = nlohmann::json::parse(log.text());  // the only one
  EXPECT_EQ(line["msg"], "slow turn");
  EXPECT_EQ(line["memory"], "m");
  EXPECT_EQ(line["turn"], 2);
  EXPECT_EQ(line["seconds"], 5.0);
  EXPECT_EQ(line["commit_seconds"], 5.0);
  EXPECT_EQ(line["propose_seconds"], 0.0);
  EXPECT_EQ(line["request_ids"], nlohmann::json({"order-66"}));
  EXPECT_EQ(line["mutations"].size(), 1u);
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
  EXPECT_GE(executor->figures().audit.store_differences, 1u);  // time may have passed for more than one
  EXPECT_NE(executor->figures().audit.corrupt.find("slots 0;"), std::string::npos);
  EXPECT_EQ(executor->figures().state, MemoryState::kServing);
  Answer<QueryReply> query;
  executor->Submit(Query(1, &query));
  EXPECT_EQ(query.Wait()->values[0], 1);
  faults->slot_with_other_value = -1;
  AwaitAuditPasses(executor->figures().audit.passes + 1);  // one may have begun before
  const uint64_t differences = executor->figures().audit.store_differences;
  AwaitAuditPasses(executor->figures().audit.passes + 1);
  EXPECT_EQ(executor->figures().audit.store_differences, differences);
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

}  // namespace
}  // namespace evoke::testing
