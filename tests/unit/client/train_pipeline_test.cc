// A pipeline of train steps before a server that misbehaves: in order, exactly once, whatever breaks.
#include "evoke/train_pipeline.h"

#include <set>
#include <thread>

#include "absl/synchronization/notification.h"
#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const Fault kLost = {.apply = true};  // applied, but the connection broke before the reply
const Fault kNotReached = {};         // the connection broke before the request
const Fault kNone = {.code = StatusCode::kOk, .apply = true};
const Fault kRefused = {.code = StatusCode::kInvalidArgument, .reason = "NON_FINITE"};
const Fault kForgotten = {.code = StatusCode::kFailedPrecondition, .reason = "SESSION_UNKNOWN"};

class TrainPipelineTest : public testing::Test {
 protected:
  explicit TrainPipelineTest(std::shared_ptr<Clock> clock = std::make_shared<ManualClock>()) {
    server_.AddMemory("faces", 2);
    client_ =
        *Client::Connect({.addresses = {server_.address()}, .deadline = absl::Hours(1), .clock = clock});
    memory_.emplace(*client_->OpenMemory("faces"));
    Make({});
  }

  void Make(const TrainPipelineOptions& options) {
    pipeline_.reset();
    absl::StatusOr<std::unique_ptr<TrainPipeline>> pipeline = TrainPipeline::Create(*memory_, options);
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    pipeline_ = *std::move(pipeline);
  }

  // One row whose right value is `value`; the fake server answers with the same.
  Future<TrainStepResult> Submit(int64_t value) {
    const std::vector<float> x = {1, 0};
    const std::vector<int64_t> values = {value};
    return pipeline_->Submit({.embeddings = MatrixView::Float32(x, 1), .values = values});
  }
  std::vector<Future<TrainStepResult>> SubmitMany(int count) {
    std::vector<Future<TrainStepResult>> futures;
    for (int i = 0; i < count; ++i) futures.push_back(Submit(i));
    return futures;
  }
  // OK, with the value that was submitted, at this step of the memory.
  static void ExpectApplied(const absl::StatusOr<TrainStepResult>& result, int64_t value, uint64_t step) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_THAT(result->values, ElementsAre(value));
    EXPECT_EQ(result->header.step, step);
  }
  std::set<std::string> Sessions() {
    std::set<std::string> sessions;
    for (const SeenCall& call : server_.calls("TrainStream")) sessions.insert(call.session);
    return sessions;
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
  std::unique_ptr<TrainPipeline> pipeline_;
};

TEST_F(TrainPipelineTest, StepsAreAppliedInTheirOrderUnderOneSession) {
  std::vector<Future<TrainStepResult>> futures = SubmitMany(100);
  for (int i = 0; i < 100; ++i) ExpectApplied(futures[i].get(), i, i + 1);
  ASSERT_TRUE(pipeline_->Drain().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStream");
  ASSERT_THAT(calls, SizeIs(100));
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(calls[i].number, i + 1);
    EXPECT_EQ(calls[i].session, calls[0].session);
    EXPECT_EQ(calls[i].uid, memory_->uid().ToBytes());
    EXPECT_EQ(calls[i].opened_after, i == 0 ? 1u : 0u);
  }
}

TEST_F(TrainPipelineTest, NoMoreStepsAreUnansweredThanTheWindowHolds) {
  Make({.window = 4});
  server_.Hold("TrainStream");  // a reader who takes its time
  std::vector<Future<TrainStepResult>> futures;
  std::thread trainer([&] {
    for (int i = 0; i < 40; ++i) {
      futures.push_back(Submit(i));
      EXPECT_LE(pipeline_->unanswered(), 4u);
    }
  });
  server_.AwaitCalls("TrainStream", 1);
  server_.Release("TrainStream");
  trainer.join();
  for (int i = 0; i < 40; ++i) ExpectApplied(futures[i].get(), i, i + 1);
  for (const SeenCall& call : server_.calls("TrainStream"))
    EXPECT_LT(call.number - call.first_unacknowledged, 4u);
}

TEST_F(TrainPipelineTest, AConnectionLostInMidWindowIsResumedAndNothingIsAppliedTwice) {
  server_.Fail("TrainStream", {kNone, kNone, kNone, kLost, kNotReached, kLost, kNone, kLost});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(50);
  for (int i = 0; i < 50; ++i) ExpectApplied(futures[i].get(), i, i + 1);
  EXPECT_EQ(server_.step("faces"), 50u);
  EXPECT_THAT(Sessions(), SizeIs(1));
}

TEST_F(TrainPipelineTest, ARefusedStepFailsAloneAndTheOthersAreApplied) {
  server_.Fail("TrainStream", {kNone, kNone, kRefused});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(10);
  for (int i = 0; i < 2; ++i) ExpectApplied(futures[i].get(), i, i + 1);
  const ErrorDetails details = GetErrorDetails(futures[2].get().status());
  EXPECT_EQ(details.reason, "NON_FINITE");
  EXPECT_FALSE(details.outcome_unknown);
  for (int i = 3; i < 10; ++i) ExpectApplied(futures[i].get(), i, i);
  EXPECT_TRUE(pipeline_->Drain().ok());
  EXPECT_EQ(server_.step("faces"), 9u);
}

TEST_F(TrainPipelineTest, ARequestThatIsAtFaultItselfFailsAloneAfterALostConnectionToo) {
  server_.Hold("TrainStream");
  server_.Fail("TrainStream", {kNone, kNotReached, kRefused});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(6);
  server_.Release("TrainStream");
  ExpectApplied(futures[0].get(), 0, 1);
  EXPECT_FALSE(GetErrorDetails(futures[1].get().status()).outcome_unknown);
  for (int i = 2; i < 6; ++i) ExpectApplied(futures[i].get(), i, i);
  EXPECT_EQ(server_.step("faces"), 5u);
}

TEST_F(TrainPipelineTest, CopiesBehindARefusedStepThatArriveLateAreNotAppliedTwice) {
  server_.Hold("TrainStream");
  server_.Fail("TrainStream", {kNone, kRefused});
  server_.KeepLateCopies(3);
  std::vector<Future<TrainStepResult>> futures = SubmitMany(8);
  server_.Release("TrainStream");
  ExpectApplied(futures[0].get(), 0, 1);
  EXPECT_EQ(GetErrorDetails(futures[1].get().status()).reason, "NON_FINITE");
  for (int i = 2; i < 8; ++i) ExpectApplied(futures[i].get(), i, i);
  EXPECT_THAT(server_.calls("late"), SizeIs(3));
  EXPECT_EQ(server_.step("faces"), 7u);
}

TEST_F(TrainPipelineTest, PatienceThatTheServerAsksForIsGiven) {
  server_.Fail("TrainStream", {kNone,
                               {.code = StatusCode::kResourceExhausted,
                                .reason = "MAILBOX_FULL",
                                .retry_delay = absl::Milliseconds(1500)},
                               {.reason = "LOADING"}});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(5);
  for (int i = 0; i < 5; ++i) ExpectApplied(futures[i].get(), i, i + 1);
  EXPECT_THAT(Sessions(), SizeIs(1));
}

TEST_F(TrainPipelineTest, AForgottenSessionIsReplacedWhenNothingOfItIsUnknown) {
  ExpectApplied(Submit(1).get(), 1, 1);
  server_.ForgetSessions("faces");
  std::vector<Future<TrainStepResult>> futures = SubmitMany(5);
  for (int i = 0; i < 5; ++i) ExpectApplied(futures[i].get(), i, i + 2);
  EXPECT_THAT(Sessions(), SizeIs(2));
}

TEST_F(TrainPipelineTest, AForgottenSessionAfterALostConnectionBreaksThePipelineForGood) {
  server_.Hold("TrainStream");
  server_.Fail("TrainStream", {kLost, kForgotten});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(3);
  server_.Release("TrainStream");
  for (Future<TrainStepResult>& future : futures) {
    const absl::Status status = future.get().status();
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(GetErrorDetails(status).outcome_unknown || absl::IsAborted(status)) << status;
  }
  EXPECT_FALSE(pipeline_->Drain().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(pipeline_->Resume().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Submit(1).get().status()));
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(TrainPipelineTest, ResumeFindsOutWhatBecameOfStepsWhoseOutcomeWasUnknown) {
  server_.Hold("TrainStream");
  server_.Fail("TrainStream", {kNone, {.code = StatusCode::kInternal, .apply = true}});
  std::vector<Future<TrainStepResult>> futures = SubmitMany(6);
  server_.Release("TrainStream");
  ExpectApplied(futures[0].get(), 0, 1);
  size_t unknown = 0;
  for (int i = 1; i < 6; ++i) {
    const absl::Status status = futures[i].get().status();
    unknown += GetErrorDetails(status).outcome_unknown;
    EXPECT_TRUE(GetErrorDetails(status).outcome_unknown || absl::IsAborted(status)) << status;
  }
  ASSERT_GE(unknown, 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(Submit(9).get().status()));
  absl::StatusOr<std::vector<Future<TrainStepResult>>> resumed = pipeline_->Resume();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  ASSERT_THAT(*resumed, SizeIs(unknown));
  for (size_t i = 0; i < unknown; ++i) ExpectApplied((*resumed)[i].get(), i + 1, i + 2);
  ExpectApplied(Submit(9).get(), 9, unknown + 2);
  EXPECT_TRUE(pipeline_->Drain().ok());
  EXPECT_EQ(server_.step("faces"), unknown + 2);
  EXPECT_THAT(Sessions(), SizeIs(1));
}

TEST_F(TrainPipelineTest, AServerThatStaysAwayUntilTheDeadlineLeavesTheOutcomeUnknown) {
  Make({.deadline = absl::Seconds(5)});
  server_.Fail("TrainStream", std::vector<Fault>(1000, kLost));
  const absl::Status status = Submit(1).get().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(GetErrorDetails(status).outcome_unknown);
  EXPECT_GT(GetErrorDetails(status).attempts, 2);
}

TEST_F(TrainPipelineTest, AServerWithoutTheMethodIsReportedForEachStep) {
  server_.Fail("TrainStream", std::vector<Fault>(2, {.code = StatusCode::kUnimplemented}));
  EXPECT_TRUE(absl::IsUnimplemented(Submit(1).get().status()));
  EXPECT_TRUE(absl::IsUnimplemented(Submit(2).get().status()));
  ExpectApplied(Submit(3).get(), 3, 1);
}

TEST_F(TrainPipelineTest, AStepNoneOfWhoseRowsWritesIsRefusedUnsent) {
  const std::vector<float> x = {1, 0};
  const std::vector<int64_t> values = {1};
  const std::vector<uint8_t> zero = {0};
  const absl::Status status =
      pipeline_->Submit({.embeddings = MatrixView::Float32(x, 1), .values = values, .write = zero})
          .get()
          .status();
  EXPECT_EQ(GetErrorDetails(status).reason, "BAD_ARGUMENT");
  EXPECT_THAT(server_.calls("TrainStream"), IsEmpty());
}

TEST_F(TrainPipelineTest, DestructionEndsWhatIsUnansweredAndSaysThatItIsUnknown) {
  server_.Hold("TrainStream");
  Future<TrainStepResult> future = Submit(1);
  server_.AwaitCalls("TrainStream", 1);
  pipeline_.reset();
  const absl::Status status = future.get().status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(GetErrorDetails(status).outcome_unknown);
}

TEST_F(TrainPipelineTest, ACompletionMaySubmitTheNextStepAndDestroyThePipeline) {
  Make({.window = 1});
  absl::Notification gone;
  int left = 20;
  const std::vector<float> x = {1, 0};
  const std::vector<int64_t> values = {1};
  std::function<void()> next = [&] {
    pipeline_->Submit({.embeddings = MatrixView::Float32(x, 1), .values = values},
                      [&](absl::StatusOr<TrainStepResult> result) {
                        EXPECT_TRUE(result.ok()) << result.status();
                        if (--left > 0) return next();
                        pipeline_.reset();
                        gone.Notify();
                      });
  };
  next();
  gone.WaitForNotification();
  EXPECT_EQ(server_.step("faces"), 20u);
}

class TrainPipelineInRealTimeTest : public TrainPipelineTest {
 protected:
  TrainPipelineInRealTimeTest() : TrainPipelineTest(std::make_shared<RealClock>()) {}
};

TEST_F(TrainPipelineInRealTimeTest, AStepThatIsNotAnsweredInTimeEndsAndResumeBringsItsReply) {
  Make({.deadline = absl::Milliseconds(100)});
  server_.Hold("TrainStream");
  const absl::Status status = Submit(5).get().status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(GetErrorDetails(status).outcome_unknown);
  server_.Release("TrainStream");
  // As often as the deadline, which is short, makes it necessary on a slow machine.
  for (absl::Status resumed = status; !resumed.ok();) {
    absl::StatusOr<std::vector<Future<TrainStepResult>>> futures = pipeline_->Resume();
    ASSERT_TRUE(futures.ok()) << futures.status();
    resumed = (*futures)[0].get().status();
  }
  EXPECT_EQ(server_.step("faces"), 1u);
}

}  // namespace
}  // namespace evoke::client
