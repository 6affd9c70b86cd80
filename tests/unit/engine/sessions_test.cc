#include "server/engine/sessions.h"

#include <gtest/gtest.h>

#include "server/base/errors.h"

namespace evoke {
namespace {

SessionId Id(char name) { return SessionId::FromView(std::string(16, name)); }

MutationId Mutation(char session, uint64_t number, uint64_t first_unacknowledged = 0, uint64_t digest = 7,
                    uint64_t opened_after = 0) {
  return {Id(session), number, first_unacknowledged, opened_after, Hash128{.low = digest}};
}

std::string ReasonOf(const absl::StatusOr<Sessions::Verdict>& verdict) {
  return verdict.ok() ? "OK" : DetailOf(verdict.status())->reason;
}

class SessionsTest : public ::testing::Test {
 protected:
  // Admits and, when it applies, completes a mutation in a turn of its own.
  absl::StatusOr<Sessions::Verdict> Run(const MutationId& m, const std::string& reply = "reply") {
    const Turn turn(turn_.value + 1);
    const auto verdict = sessions.Admit(m, turn, &ops);
    if (verdict.ok() && *verdict == Sessions::Verdict::kApply) {
      turn_ = turn;
      sessions.Complete(m, reply, &ops);
      sessions.EndTurn(turn, &ops);
    }
    return verdict;
  }

  Turn turn_;
  Sessions sessions{{.max_sessions = 3, .max_unacknowledged = 4, .max_reply_bytes = 100}};
  std::vector<SessionOp> ops;
};

TEST_F(SessionsTest, FirstNumberOpensTheSessionAndRecordsItsOutcome) {
  ASSERT_EQ(Run(Mutation('a', 1)).value(), Sessions::Verdict::kApply);
  ASSERT_EQ(ops.size(), 2u);
  EXPECT_EQ(ops[0].kind, SessionOp::Kind::kOpen);
  EXPECT_EQ(ops[1].kind, SessionOp::Kind::kOutcome);
  EXPECT_EQ(ops[1].reply, "reply");
}

TEST_F(SessionsTest, RetryOfAnAppliedNumberIsAnsweredFromTheStore) {
  ASSERT_TRUE(Run(Mutation('a', 1)).ok());
  ops.clear();
  EXPECT_EQ(Run(Mutation('a', 1)).value(), Sessions::Verdict::kStored);
  EXPECT_TRUE(ops.empty());
}

TEST_F(SessionsTest, RetryInTheSameTurnWaitsForThatTurn) {
  ASSERT_EQ(sessions.Admit(Mutation('a', 1), Turn(1), &ops).value(), Sessions::Verdict::kApply);
  EXPECT_EQ(sessions.Admit(Mutation('a', 1), Turn(1), &ops).value(), Sessions::Verdict::kInTurn);
  EXPECT_EQ(sessions.Admit(Mutation('a', 2), Turn(1), &ops).value(), Sessions::Verdict::kApply);
}

TEST_F(SessionsTest, SameNumberWithAnotherBodyIsRefused) {
  ASSERT_TRUE(Run(Mutation('a', 1, 0, 7)).ok());
  const auto verdict = Run(Mutation('a', 1, 0, 8));
  EXPECT_EQ(ReasonOf(verdict), "STEP_REUSED");
  EXPECT_EQ(verdict.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf(verdict.status())->metadata.at("last_number"), "1");
}

TEST_F(SessionsTest, GapIsRefusedAndConsumesNothing) {
  ASSERT_TRUE(Run(Mutation('a', 1)).ok());
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 3))), "STEP_OUT_OF_ORDER");
  EXPECT_TRUE(Run(Mutation('a', 2)).ok());
}

TEST_F(SessionsTest, AcknowledgedReplyIsDroppedAndItsRetryRefused) {
  ASSERT_TRUE(Run(Mutation('a', 1)).ok());
  ASSERT_TRUE(Run(Mutation('a', 2, 2)).ok());
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 1))), "STEP_TOO_OLD");
  EXPECT_EQ(Run(Mutation('a', 2, 2)).value(), Sessions::Verdict::kStored);
  EXPECT_EQ(sessions.reply_bytes(), 5u);
}

TEST_F(SessionsTest, AcknowledgementOfAReplyThatWasNeverSentIsIgnored) {
  ASSERT_TRUE(sessions.Admit(Mutation('a', 1), Turn(1), &ops).ok());
  ASSERT_TRUE(sessions.Admit(Mutation('a', 2, 2), Turn(1), &ops).ok());
  sessions.Complete(Mutation('a', 1), "one", &ops);
  sessions.Complete(Mutation('a', 2), "two", &ops);
  EXPECT_EQ(sessions.reply_bytes(), 6u);
  EXPECT_EQ(sessions.Admit(Mutation('a', 1), Turn(2), &ops).value(), Sessions::Verdict::kStored);
}

TEST_F(SessionsTest, UnknownSessionIsRefusedUnlessItsFirstNumberIsNew) {
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 2))), "SESSION_UNKNOWN");
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 1, 0, 7, /*opened_after=*/5))), "BAD_ARGUMENT");
  EXPECT_TRUE(Run(Mutation('a', 1)).ok());
}

TEST_F(SessionsTest, TooManyUnacknowledgedRepliesAreRefusedAndAcknowledgingHelps) {
  for (uint64_t n = 1; n <= 4; ++n) ASSERT_TRUE(Run(Mutation('a', n)).ok());
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 5))), "UNACKNOWLEDGED_LIMIT");
  EXPECT_TRUE(Run(Mutation('a', 5, 2)).ok());
}

TEST_F(SessionsTest, LeastRecentlyUsedSessionIsForgottenAndCannotBeOpenedAgainByAnOldFirstNumber) {
  for (char s : {'a', 'b', 'c'}) ASSERT_TRUE(Run(Mutation(s, 1)).ok());
  ASSERT_TRUE(Run(Mutation('a', 2)).ok());
  ops.clear();
  ASSERT_TRUE(Run(Mutation('d', 1, 0, 7, 4)).ok());
  EXPECT_EQ(ops[0].kind, SessionOp::Kind::kForget);
  EXPECT_EQ(ops[0].session, Id('b'));
  // b's first number must not be applied a second time: its turn was 2.
  EXPECT_EQ(ReasonOf(Run(Mutation('b', 1, 0, 7, /*opened_after=*/1))), "SESSION_UNKNOWN");
  EXPECT_EQ(ReasonOf(Run(Mutation('b', 2))), "SESSION_UNKNOWN");
  EXPECT_TRUE(Run(Mutation('e', 1, 0, 7, /*opened_after=*/5)).ok());
}

TEST_F(SessionsTest, StoredRepliesBeyondTheLimitForgetOldSessionsButNeverTheOneWriting) {
  ASSERT_TRUE(Run(Mutation('a', 1), std::string(60, 'x')).ok());
  ops.clear();
  ASSERT_TRUE(Run(Mutation('b', 1), std::string(200, 'x')).ok());
  EXPECT_EQ(ops.back().kind, SessionOp::Kind::kForget);
  EXPECT_EQ(ops.back().session, Id('a'));
  EXPECT_EQ(Run(Mutation('b', 1)).value(), Sessions::Verdict::kStored);
}

TEST_F(SessionsTest, LoadedSessionsDecideLikeThoseThatWereNeverUnloaded) {
  sessions.Load({.id = Id('a'), .last_turn = Turn(3), .last_number = 2, .replies = {{2, Hash128{.low = 7}, 10}}});
  turn_ = Turn(3);
  EXPECT_EQ(Run(Mutation('a', 2)).value(), Sessions::Verdict::kStored);
  EXPECT_EQ(ReasonOf(Run(Mutation('a', 1))), "STEP_TOO_OLD");
  EXPECT_EQ(Run(Mutation('a', 3)).value(), Sessions::Verdict::kApply);
}

}  // namespace
}  // namespace evoke
