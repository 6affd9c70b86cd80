#include "client/load/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/load/driver_fixture.h"

namespace evoke::load {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(DriverTest, ClosedLoopKeepsEveryLaneBusyAndNoMore) {
  DriverFixture f({.options = {.connections = 2, .in_flight = 3}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  EXPECT_EQ(f.target.held.size(), 6u);
  EXPECT_EQ(f.driver->state().in_flight, 6);
  f.target.AnswerAll();
  EXPECT_EQ(f.target.held.size(), 6u);
  EXPECT_EQ(f.target.sent, 12);
  f.driver->Stop();
  f.target.AnswerAll();
  EXPECT_TRUE(f.driver->idle());
  EXPECT_EQ(f.driver->Take().calls(), 12u);
  EXPECT_TRUE(f.End().kept()) << ::testing::PrintToString(f.judge.verdict().violations);
}

TEST(DriverTest, LanesAreSpreadOverTheConnections) {
  DriverFixture f({.options = {.connections = 3, .in_flight = 2}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  std::vector<int> connections;
  for (const HeldTarget::Sent& sent : f.target.held) connections.push_back(sent.connection);
  EXPECT_THAT(connections, ElementsAre(0, 1, 2, 0, 1, 2));
  f.driver->Stop();
  f.target.AnswerAll();
}

TEST(DriverTest, ClosedLoopLatencyCountsFromTheSending) {
  DriverFixture f;
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.clock.Sleep(absl::Milliseconds(5));
  f.driver->Stop();
  f.target.Answer();
  EXPECT_EQ(f.driver->Take().AllLatencies().Max(), absl::Milliseconds(5));
}

TEST(DriverTest, OpenLoopSendsWhenCallsAreDue) {
  DriverFixture f({.options = {.in_flight = 4}});
  f.StartOpen(100);
  EXPECT_EQ(f.driver->Poll(), f.clock.Now() + absl::Milliseconds(10));
  EXPECT_EQ(f.target.sent, 1);
  f.Pass(absl::Milliseconds(9));
  EXPECT_EQ(f.target.sent, 1);
  f.Pass(absl::Milliseconds(1));
  EXPECT_EQ(f.target.sent, 2);
  f.driver->Stop();
  f.target.AnswerAll();
}

// The reason for an open loop. One lane; the server stalls for a second in which 100 calls are due.
TEST(DriverTest, AStalledServerGivesLatenciesFromWhenCallsWereDue) {
  DriverFixture f;
  f.StartOpen(100);
  f.driver->Poll();
  f.Pass(absl::Seconds(1), absl::Milliseconds(10));  // nothing is answered
  EXPECT_EQ(f.target.sent, 1);
  EXPECT_EQ(f.driver->state().behind, absl::Milliseconds(990));
  for (int i = 0; i < 100; ++i) f.target.Answer();  // and now everything at once
  f.driver->Stop();
  f.target.AnswerAll();

  const Measurements seen = f.driver->Take();
  EXPECT_EQ(seen.calls(), 101u);
  const LatencyHistogram latency = seen.AllLatencies();
  EXPECT_EQ(latency.Max(), absl::Seconds(1));
  EXPECT_NEAR(absl::ToDoubleSeconds(latency.Percentile(50)), 0.5, 0.011);
  EXPECT_NEAR(absl::ToDoubleSeconds(seen.send_delay.Percentile(50)), 0.5, 0.011);
}

TEST(DriverTest, BeginsAsManyCallsAsWereAskedFor) {
  DriverFixture f({.options = {.in_flight = 2, .calls = 5}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  while (!f.target.held.empty()) f.target.Answer();
  f.driver->Poll();
  EXPECT_EQ(f.target.sent, 5);
  EXPECT_TRUE(f.driver->state().finished);
  EXPECT_TRUE(f.driver->idle());
}

TEST(DriverTest, ARetryWaitsAndItsLatencyIncludesTheWait) {
  DriverFixture f({.options = {.calls = 1}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.target.Refuse(ErrorOf(absl::StatusCode::kUnavailable, "LOADING", absl::Milliseconds(300)));
  f.Pass(absl::Milliseconds(299));
  EXPECT_EQ(f.target.sent, 1);
  f.Pass(absl::Milliseconds(60));
  ASSERT_EQ(f.target.sent, 2);
  f.target.Answer();
  const Measurements seen = f.driver->Take();
  EXPECT_THAT(seen.errors, ElementsAre(Pair("UNAVAILABLE/LOADING", 1)));
  EXPECT_EQ(seen.retries, 1u);
  EXPECT_EQ(seen.failed(), 0u);
  EXPECT_GE(seen.AllLatencies().Max(), absl::Milliseconds(300));
}

TEST(DriverTest, AMutationOfUnknownOutcomeIsSentUnderTheSameNumberPastItsDeadline) {
  DriverFixture f({.options = {.calls = 1}, .deadline = absl::Seconds(1)});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  const std::string body = f.target.held.front().call->train_step.SerializeAsString();
  f.target.Refuse(ErrorOf(absl::StatusCode::kUnavailable), /*apply=*/true);  // the reply is lost
  for (int i = 0; i < 30; ++i) {  // the server is away for longer than the deadline
    f.Pass(absl::Milliseconds(150), absl::Milliseconds(150));
    ASSERT_EQ(f.target.held.size(), 1u);
    EXPECT_EQ(f.target.held.front().call->train_step.SerializeAsString(), body);
    f.target.Refuse(ErrorOf(absl::StatusCode::kUnavailable));
  }
  f.Pass(absl::Milliseconds(150), absl::Milliseconds(150));
  f.target.Answer();
  EXPECT_EQ(f.driver->Take().calls(), 1u);
  EXPECT_EQ(f.target.step, 2u);
  EXPECT_TRUE(f.End().kept());
  EXPECT_EQ(f.End().unresolved_mutations, 0u);
}

TEST(DriverTest, AReadIsGivenUpAtItsDeadline) {
  DriverFixture f({.options = {.calls = 1}, .mix = Mix({1, 0, 0}), .deadline = absl::Seconds(1)});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  while (!f.target.held.empty()) {
    f.target.Refuse(ErrorOf(absl::StatusCode::kUnavailable));
    f.Pass(absl::Milliseconds(150), absl::Milliseconds(150));
  }
  EXPECT_TRUE(f.driver->idle());
  EXPECT_GT(f.target.sent, 5);
  EXPECT_EQ(f.driver->Take().failed(), 1u);
}

TEST(DriverTest, ShedCallsAreCountedAndTheirNumberUsedAgain) {
  DriverFixture f({.options = {.calls = 2}, .shed = true});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.target.Refuse(ErrorOf(absl::StatusCode::kResourceExhausted, "MAILBOX_FULL", absl::Milliseconds(50)));
  ASSERT_EQ(f.target.held.size(), 1u);
  EXPECT_EQ(f.target.held.front().call->train_step.mutation().number(), 1u);
  f.target.Answer();
  const Measurements seen = f.driver->Take();
  EXPECT_EQ(seen.shed(), 1u);
  EXPECT_EQ(seen.calls(), 1u);
  EXPECT_TRUE(f.End().kept());
}

TEST(DriverTest, WithoutShedAFullMailboxIsTriedAgainAfterItsDelay) {
  DriverFixture f({.options = {.calls = 1}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.target.Refuse(ErrorOf(absl::StatusCode::kResourceExhausted, "MAILBOX_FULL", absl::Milliseconds(500)));
  f.Pass(absl::Milliseconds(600));
  ASSERT_EQ(f.target.held.size(), 1u);
  f.target.Answer();
  EXPECT_EQ(f.driver->Take().shed(), 0u);
}

TEST(DriverTest, AnAbandonedMutationStaysUnresolved) {
  DriverFixture f({.options = {.calls = 1}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.target.Refuse(ErrorOf(absl::StatusCode::kUnavailable), /*apply=*/true);
  f.driver->Abandon();
  f.driver->Poll();
  EXPECT_TRUE(f.driver->idle());
  const Judge::Verdict verdict = f.End();
  EXPECT_EQ(verdict.unresolved_mutations, 1u);
  EXPECT_TRUE(verdict.kept()) << "what is unknown is no violation";
}

TEST(DriverTest, AGapInASessionIsAViolation) {
  DriverFixture f({.options = {.calls = 1}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  f.target.Refuse(ErrorOf(absl::StatusCode::kFailedPrecondition, "STEP_OUT_OF_ORDER"));
  EXPECT_EQ(f.driver->Take().failed(), 1u);
  EXPECT_EQ(f.End().violation_count, 1u);
}

// Two lanes with three train steps, the last of each sent again in the end.
Judge::Verdict VerdictAfterReplay(bool server_forgets) {
  DriverFixture f({.options = {.in_flight = 2, .calls = 6}});
  f.driver->Start(std::nullopt);
  f.driver->Poll();
  while (!f.target.held.empty()) f.target.AnswerAll();
  f.target.answers_itself = true;
  f.target.forgets = server_forgets;
  EXPECT_TRUE(f.driver->Replay().ok());
  EXPECT_EQ(f.target.sent, 8);
  return f.End();
}

TEST(DriverTest, TheLastMutationOfEveryLaneIsSentAgainAndGetsItsReply) {
  const Judge::Verdict verdict = VerdictAfterReplay(/*server_forgets=*/false);
  EXPECT_EQ(verdict.replays, 2u);
  EXPECT_TRUE(verdict.kept()) << ::testing::PrintToString(verdict.violations);
}

TEST(DriverTest, AServerThatAppliesAReplayIsFoundByReplyAndBySteps) {
  const Judge::Verdict verdict = VerdictAfterReplay(/*server_forgets=*/true);
  EXPECT_EQ(verdict.violation_count, 3u) << ::testing::PrintToString(verdict.violations);
}

TEST(DriverTest, TheSameSeedSendsTheSameCalls) {
  std::vector<std::string> runs;
  for (int i = 0; i < 2; ++i) {
    DriverFixture f({.options = {.calls = 40}, .mix = Mix({1, 1, 1})});
    f.driver->Start(std::nullopt);
    f.driver->Poll();
    std::string& bytes = runs.emplace_back();
    while (!f.target.held.empty()) {
      const Call& call = *f.target.held.front().call;
      bytes += Name(call.method);
      bytes += call.method == Method::kQuery ? call.query.embeddings().data()
               : call.method == Method::kUpdate
                   ? call.update.embeddings().data() + call.update.values()
                   : call.train_step.embeddings().data() + call.train_step.values();
      f.target.Answer();
    }
  }
  EXPECT_EQ(runs[0], runs[1]);
}

}  // namespace
}  // namespace evoke::load
