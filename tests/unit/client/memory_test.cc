// Exactly once, seen from the caller of the library, against a server that misbehaves.
#include "evoke/memory.h"

#include <set>
#include <thread>

#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const Fault kLost = {.apply = true};  // applied, but the connection broke before the reply
const Fault kNotReached = {};         // the connection broke before the request
const Fault kRefused = {.code = StatusCode::kInvalidArgument, .reason = "NON_FINITE"};

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() {
    server_.AddMemory("faces", 2);
    client_ =
        *Client::Connect({.addresses = {server_.address()}, .deadline = absl::Seconds(10), .clock = clock_});
    memory_.emplace(*client_->OpenMemory("faces"));
  }

  absl::StatusOr<TrainStepResult> Train(const CallOptions& options = {}) {
    return memory_->TrainStep({.embeddings = MatrixView::Float32(embedding_, 1), .values = values_}, options);
  }

  const std::vector<float> embedding_ = {1, 0};
  const std::vector<int64_t> values_ = {42};
  const std::vector<uint8_t> zero_ = {0};
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
};

TEST_F(MemoryTest, EveryCallReachesTheMemoryAndNamesItsUid) {
  const absl::StatusOr<TrainStepResult> trained = Train();
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->rows, 1u);
  EXPECT_EQ(trained->values, values_);
  EXPECT_EQ(trained->outcomes, std::vector<Outcome>{Outcome::kFree});
  EXPECT_EQ(trained->header.step, 1u);
  ASSERT_TRUE(memory_->Update({.embeddings = MatrixView::Float32(embedding_, 1), .values = values_}).ok());
  ASSERT_TRUE(memory_->Query({.embeddings = MatrixView::Float32(embedding_, 1)}).ok());
  const std::vector<uint64_t> slots = {0};
  ASSERT_TRUE(memory_->GetSlots({.slots = slots}).ok());
  EXPECT_EQ(memory_->Clear()->header.epoch, 2u);
  EXPECT_EQ(memory_->Describe()->step, 2u);
  EXPECT_EQ(memory_->StateHash()->state_hash, std::string(32, '0'));
  for (const char* method : {"TrainStep", "Update", "Query", "GetSlots", "ClearMemory", "StateHash"}) {
    ASSERT_THAT(server_.calls(method), SizeIs(1)) << method;
    EXPECT_EQ(server_.calls(method)[0].uid, memory_->uid().ToBytes()) << method;
  }
}

TEST_F(MemoryTest, AllMutationsShareTheSessionsAndTheirNumbersGrow) {
  ASSERT_TRUE(Train().ok());
  ASSERT_TRUE(memory_->Clear().ok());
  Memory other_handle = *client_->OpenMemory("faces");
  ASSERT_TRUE(other_handle.Clear().ok());
  const SeenCall first = server_.calls("TrainStep")[0];
  EXPECT_EQ(first.number, 1u);
  EXPECT_EQ(first.opened_after, 1u);
  for (uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(server_.calls("ClearMemory")[i].session, first.session);
    EXPECT_EQ(server_.calls("ClearMemory")[i].number, i + 2);
    EXPECT_EQ(server_.calls("ClearMemory")[i].first_unacknowledged, i + 2);
  }
}

TEST_F(MemoryTest, ALostReplyIsAskedForAgainAndTheStepIsAppliedOnce) {
  server_.Fail("TrainStep", {kLost, kLost});
  const absl::StatusOr<TrainStepResult> trained = Train();
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->header.step, 1u);
  EXPECT_EQ(server_.step("faces"), 1u);
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  ASSERT_THAT(calls, SizeIs(3));
  EXPECT_EQ(calls[2].session, calls[0].session);
  EXPECT_EQ(calls[2].number, 1u);
  EXPECT_EQ(calls[2].opened_after, calls[0].opened_after);
}

TEST_F(MemoryTest, WaitsAtLeastAsLongAsTheServerAsks) {
  server_.Fail("TrainStep", {{.code = StatusCode::kResourceExhausted,
                              .reason = "MAILBOX_FULL",
                              .retry_delay = absl::Milliseconds(1500)}});
  ASSERT_TRUE(Train().ok());
  ASSERT_THAT(clock_->sleeps(), SizeIs(1));
  EXPECT_GE(clock_->sleeps()[0], absl::Milliseconds(1500));
  EXPECT_LT(clock_->sleeps()[0], absl::Milliseconds(1600));
}

TEST_F(MemoryTest, ResourceExhaustedWithoutADelayGoesToTheCallerAtOnce) {
  server_.Fail("TrainStep", {{.code = StatusCode::kResourceExhausted, .reason = "MEMORY_LIMIT"}});
  const absl::Status status = Train().status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(clock_->sleeps(), IsEmpty());
}

TEST_F(MemoryTest, AnErrorCarriesReasonMetadataAttemptsAndCoordinates) {
  server_.Fail(
      "TrainStep",
      {{.reason = "LOADING"},
       {.code = StatusCode::kInvalidArgument, .reason = "TOO_LARGE", .metadata = {{"limit", "4096"}}}});
  const absl::Status status = Train().status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("TrainStep of memory \"faces\" at " + server_.address()));
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_EQ(details.reason, "TOO_LARGE");
  EXPECT_EQ(details.metadata.at("limit"), "4096");
  EXPECT_EQ(details.attempts, 2);
  EXPECT_FALSE(details.outcome_unknown);
}

TEST_F(MemoryTest, ARefusedMutationConsumesNoNumber) {
  server_.Fail("TrainStep", {kRefused});
  EXPECT_FALSE(Train().ok());
  ASSERT_TRUE(Train().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  EXPECT_EQ(calls[1].session, calls[0].session);
  EXPECT_EQ(calls[1].number, 1u);
}

TEST_F(MemoryTest, KeepsTryingUntilTheDeadlineAndThenSaysThatTheOutcomeIsUnknown) {
  server_.Fail("TrainStep", std::vector<Fault>(100, kLost));
  const absl::Time start = clock_->Now();
  const absl::Status status = Train({.deadline = absl::Seconds(5)}).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_GT(clock_->Now() - start, absl::Seconds(2));
  EXPECT_LE(clock_->Now() - start, absl::Seconds(5));
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_TRUE(details.outcome_unknown);
  ASSERT_TRUE(details.mutation.has_value());
  EXPECT_EQ(details.mutation->number, 1u);
  EXPECT_EQ(details.mutation->session.ToBytes(), server_.calls("TrainStep")[0].session);
  EXPECT_EQ(details.attempts, static_cast<int>(server_.calls("TrainStep").size()));
}

TEST_F(MemoryTest, AfterAnUnknownOutcomeTheNextMutationTakesAnotherSession) {
  server_.Fail("TrainStep", {{.code = StatusCode::kInternal}});
  EXPECT_TRUE(GetErrorDetails(Train().status()).outcome_unknown);
  ASSERT_TRUE(Train().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  EXPECT_NE(calls[1].session, calls[0].session);
  EXPECT_EQ(calls[1].number, 1u);
}

TEST_F(MemoryTest, ResumeOfAnAppliedMutationReturnsItsReplyAndAppliesNothing) {
  server_.Fail("TrainStep", {{.code = StatusCode::kInternal, .apply = true}});
  const ErrorDetails details = GetErrorDetails(Train().status());
  const absl::StatusOr<TrainStepResult> resumed = Train({.resume = details.mutation});
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->header.step, 1u);
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(MemoryTest, ResumeOfAMutationThatWasLostAppliesItAndTheSessionGoesOn) {
  server_.Fail("TrainStep", {{.code = StatusCode::kInternal}});
  const ErrorDetails details = GetErrorDetails(Train().status());
  ASSERT_TRUE(Train({.resume = details.mutation}).ok());
  EXPECT_EQ(server_.step("faces"), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(Train({.resume = details.mutation}).status()));
  ASSERT_TRUE(Train().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  EXPECT_EQ(calls[2].session, calls[0].session);
  EXPECT_EQ(calls[2].number, 2u);
}

TEST_F(MemoryTest, ARefusalOfAResumedMutationLeavesItsOutcomeUnknownAndResumable) {
  server_.Fail("TrainStep", {{.code = StatusCode::kInternal, .apply = true}, kRefused});
  const ErrorDetails first = GetErrorDetails(Train().status());
  const ErrorDetails second = GetErrorDetails(Train({.resume = first.mutation}).status());
  EXPECT_EQ(second.reason, "NON_FINITE");
  EXPECT_TRUE(second.outcome_unknown);
  EXPECT_EQ(second.mutation, first.mutation);
  ASSERT_TRUE(Train({.resume = second.mutation}).ok());
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(MemoryTest, ARefusalAfterALostAttemptDoesNotMakeTheOutcomeKnown) {
  server_.Fail("TrainStep", {kLost, kRefused});
  const ErrorDetails details = GetErrorDetails(Train().status());
  EXPECT_EQ(details.reason, "NON_FINITE");
  EXPECT_TRUE(details.outcome_unknown);
  EXPECT_TRUE(details.mutation.has_value());
}

TEST_F(MemoryTest, AForgottenSessionIsReplacedWhenTheMutationWasSurelyNotApplied) {
  ASSERT_TRUE(Train().ok());
  server_.ForgetSessions("faces");
  ASSERT_TRUE(Train().ok());
  EXPECT_EQ(server_.step("faces"), 2u);
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  ASSERT_THAT(calls, SizeIs(3));
  EXPECT_EQ(calls[1].number, 2u);
  EXPECT_NE(calls[2].session, calls[1].session);
  EXPECT_EQ(calls[2].number, 1u);
  EXPECT_EQ(calls[2].opened_after, 3u);  // read anew: turn 2 was the step, turn 3 forgot
}

TEST_F(MemoryTest, OneCallOutlivesTheForgettingOfAllIdleSessions) {
  // Four sessions, although there is one caller: each is parked before the next is opened.
  server_.Fail("TrainStep", std::vector<Fault>(4, {.code = StatusCode::kInternal}));
  std::vector<ErrorDetails> parked;
  for (int i = 0; i < 4; ++i) parked.push_back(GetErrorDetails(Train().status()));
  for (const ErrorDetails& details : parked) ASSERT_TRUE(Train({.resume = details.mutation}).ok());
  server_.ForgetSessions("faces");
  EXPECT_TRUE(Train().ok());
}

TEST_F(MemoryTest, AFirstNumberThatIsTooOldIsReplacedAfterReadingTheTurnAnew) {
  server_.ForgetSessions("faces");
  ASSERT_TRUE(Train().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[0].opened_after, 1u);
  EXPECT_EQ(calls[1].opened_after, 2u);
}

TEST_F(MemoryTest, AForgottenSessionAfterALostAttemptGoesToTheCaller) {
  server_.Fail("TrainStep", {kLost, {.code = StatusCode::kFailedPrecondition, .reason = "SESSION_UNKNOWN"}});
  const absl::Status status = Train().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_EQ(details.reason, "SESSION_UNKNOWN");
  EXPECT_TRUE(details.outcome_unknown);
  EXPECT_FALSE(details.mutation.has_value());
  EXPECT_EQ(server_.step("faces"), 1u);
  ASSERT_TRUE(Train().ok());  // the session is gone from the pool
}

TEST_F(MemoryTest, GivesUpWhenEveryNewSessionIsForgotten) {
  const Fault forgotten = {.code = StatusCode::kFailedPrecondition, .reason = "SESSION_UNKNOWN"};
  server_.Fail("TrainStep", std::vector<Fault>(10, forgotten));
  const ErrorDetails details = GetErrorDetails(Train().status());
  EXPECT_EQ(details.reason, "SESSION_UNKNOWN");
  EXPECT_FALSE(details.outcome_unknown);
  EXPECT_THAT(server_.calls("TrainStep"), SizeIs(3));
}

TEST_F(MemoryTest, AGapReportsTheLastNumberAndTheSessionIsDropped) {
  server_.Fail("TrainStep", {{.code = StatusCode::kFailedPrecondition,
                              .reason = "STEP_OUT_OF_ORDER",
                              .metadata = {{"last_number", "6"}}}});
  const ErrorDetails details = GetErrorDetails(Train().status());
  EXPECT_EQ(details.last_number(), 6u);
  EXPECT_FALSE(details.outcome_unknown);
  ASSERT_TRUE(Train().ok());
  EXPECT_NE(server_.calls("TrainStep")[1].session, server_.calls("TrainStep")[0].session);
}

TEST_F(MemoryTest, ARequestNoneOfWhoseRowsWritesCarriesNoSession) {
  const absl::StatusOr<TrainStepResult> scored = memory_->TrainStep(
      {.embeddings = MatrixView::Float32(embedding_, 1), .values = values_, .write = zero_});
  ASSERT_TRUE(scored.ok()) << scored.status();
  EXPECT_EQ(scored->slots, std::vector<uint64_t>{kNoSlot});
  EXPECT_EQ(server_.calls("TrainStep")[0].session, "");
  EXPECT_EQ(server_.step("faces"), 0u);
}

TEST_F(MemoryTest, AHandleIsRefusedOnceItsNameMeansAnotherMemory) {
  ASSERT_TRUE(client_->DeleteMemory("faces").ok());
  server_.AddMemory("faces", 2);
  const absl::Status status = Train().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(GetErrorDetails(status).reason, "STALE_MEMORY");
}

TEST_F(MemoryTest, ConcurrentTrainersOverAFlakyServerApplyEveryStepOnce) {
  constexpr int kThreads = 4, kSteps = 25;
  std::vector<Fault> faults;
  for (int i = 0; i < 60; ++i) faults.push_back(i % 3 == 0 ? kLost : kNotReached);
  server_.Fail("TrainStep", faults);
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      // The clock is shared, so each thread's waits use up the others' deadlines too.
      for (int i = 0; i < kSteps; ++i) failures += !Train({.deadline = absl::Hours(1)}).ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(server_.step("faces"), uint64_t{kThreads * kSteps});
  std::set<std::string> sessions;
  for (const SeenCall& call : server_.calls("TrainStep")) sessions.insert(call.session);
  EXPECT_LE(sessions.size(), size_t{kThreads});
}

}  // namespace
}  // namespace evoke::client
