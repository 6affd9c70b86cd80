// Asynchronous calls: the rules of the blocking ones, many at a time, before a server that misbehaves.
#include <atomic>
#include <set>
#include <thread>

#include "absl/synchronization/notification.h"
#include "evoke/client.h"
#include "evoke/memory.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using testing::SizeIs;

const Fault kLost = {.apply = true};  // applied, but the connection broke before the reply
const Fault kNotReached = {};         // the connection broke before the request

class MemoryAsyncTest : public testing::Test {
 protected:
  explicit MemoryAsyncTest(size_t max_async_calls = 64) {
    server_.AddMemory("faces", 2);
    client_ = *Client::Connect({.addresses = {server_.address()},
                                .deadline = absl::Hours(1),
                                .max_async_calls = max_async_calls,
                                .clock = clock_});
    memory_.emplace(*client_->OpenMemory("faces"));
  }

  QueryRequest Question() const { return {.embeddings = MatrixView::Float32(embedding_, 1)}; }
  TrainStepRequest Step() const {
    return {.embeddings = MatrixView::Float32(embedding_, 1), .values = values_};
  }

  const std::vector<float> embedding_ = {1, 0};
  const std::vector<int64_t> values_ = {42};
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
};

TEST_F(MemoryAsyncTest, EveryFutureGetsTheAnswerOfItsCall) {
  Future<QueryResult> answer = memory_->QueryAsync(Question());
  Future<TrainStepResult> trained = memory_->TrainStepAsync(Step());
  Future<UpdateResult> updated =
      memory_->UpdateAsync({.embeddings = MatrixView::Float32(embedding_, 1), .values = values_});
  EXPECT_EQ(answer.get()->rows, 1u);
  EXPECT_EQ(trained.get()->values, values_);
  EXPECT_THAT(updated.get()->slots, SizeIs(1));
  EXPECT_EQ(server_.step("faces"), 2u);
  EXPECT_EQ(server_.calls("Query")[0].uid, memory_->uid().ToBytes());
}

TEST_F(MemoryAsyncTest, TheArraysOfARequestAreFreeWhenTheCallReturns) {
  server_.Hold("TrainStep");
  Future<TrainStepResult> trained;
  {
    const std::vector<float> x = {0, 1};
    const std::vector<int64_t> values = {7};
    trained = memory_->TrainStepAsync({.embeddings = MatrixView::Float32(x, 1), .values = values});
  }
  server_.Release("TrainStep");
  EXPECT_EQ(trained.get()->values, std::vector<int64_t>{7});
}

TEST_F(MemoryAsyncTest, ALostReplyIsAskedForAgainAndTheStepIsAppliedOnce) {
  server_.Fail("TrainStep", {kLost, kNotReached, kLost});
  const absl::StatusOr<TrainStepResult> trained = memory_->TrainStepAsync(Step()).get();
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_EQ(trained->header.step, 1u);
  EXPECT_EQ(server_.step("faces"), 1u);
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  ASSERT_THAT(calls, SizeIs(4));
  EXPECT_EQ(calls[3].session, calls[0].session);
  EXPECT_EQ(calls[3].number, 1u);
  EXPECT_THAT(clock_->sleeps(), SizeIs(3));
}

TEST_F(MemoryAsyncTest, AnUnknownOutcomeIsSettledByResume) {
  server_.Fail("TrainStep", {{.code = StatusCode::kInternal, .apply = true}});
  const ErrorDetails details = GetErrorDetails(memory_->TrainStepAsync(Step()).get().status());
  EXPECT_TRUE(details.outcome_unknown);
  const absl::StatusOr<TrainStepResult> resumed =
      memory_->TrainStepAsync(Step(), {.resume = details.mutation}).get();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(server_.step("faces"), 1u);
  EXPECT_TRUE(
      absl::IsInvalidArgument(memory_->TrainStepAsync(Step(), {.resume = details.mutation}).get().status()));
}

TEST_F(MemoryAsyncTest, KeepsTryingUntilTheDeadlineAndThenSaysThatTheOutcomeIsUnknown) {
  server_.Fail("TrainStep", std::vector<Fault>(100, kLost));
  const absl::Time start = clock_->Now();
  const absl::Status status = memory_->TrainStepAsync(Step(), {.deadline = absl::Seconds(5)}).get().status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("TrainStep of memory \"faces\" at " + server_.address()));
  EXPECT_GT(clock_->Now() - start, absl::Seconds(2));
  EXPECT_LE(clock_->Now() - start, absl::Seconds(5));
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_TRUE(details.outcome_unknown && details.mutation.has_value());
  EXPECT_EQ(details.attempts, static_cast<int>(server_.calls("TrainStep").size()));
}

TEST_F(MemoryAsyncTest, AForgottenSessionIsReplacedWhenTheMutationWasSurelyNotApplied) {
  ASSERT_TRUE(memory_->TrainStepAsync(Step()).get().ok());
  server_.ForgetSessions("faces");
  ASSERT_TRUE(memory_->TrainStepAsync(Step()).get().ok());
  const std::vector<SeenCall> calls = server_.calls("TrainStep");
  ASSERT_THAT(calls, SizeIs(3));
  EXPECT_NE(calls[2].session, calls[1].session);
  EXPECT_EQ(calls[2].opened_after, 3u);  // read anew: turn 2 was the step, turn 3 forgot
}

TEST_F(MemoryAsyncTest, AForgottenSessionAfterALostAttemptGoesToTheCaller) {
  server_.Fail("TrainStep", {kLost, {.code = StatusCode::kFailedPrecondition, .reason = "SESSION_UNKNOWN"}});
  const ErrorDetails details = GetErrorDetails(memory_->TrainStepAsync(Step()).get().status());
  EXPECT_EQ(details.reason, "SESSION_UNKNOWN");
  EXPECT_TRUE(details.outcome_unknown);
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(MemoryAsyncTest, WhatCannotBeSentIsAnsweredWithinTheCall) {
  bool answered = false;
  const std::vector<int64_t> none;
  memory_->TrainStepAsync({.embeddings = MatrixView::Float32(embedding_, 1), .values = none},
                          [&](absl::StatusOr<TrainStepResult> result) {
                            EXPECT_EQ(GetErrorDetails(result.status()).reason, "BAD_SHAPE");
                            answered = true;
                          });
  EXPECT_TRUE(answered);
  memory_->QueryAsync(
      Question(),
      [&](absl::StatusOr<QueryResult> result) { EXPECT_TRUE(absl::IsInvalidArgument(result.status())); },
      {.deadline = absl::InfiniteDuration()});
}

TEST_F(MemoryAsyncTest, ManyMutationsAtOnceOverAFlakyServerAreAppliedOnceEach) {
  std::vector<Fault> faults;
  for (int i = 0; i < 60; ++i) faults.push_back(i % 3 == 0 ? kLost : kNotReached);
  server_.Fail("TrainStep", faults);
  std::vector<Future<TrainStepResult>> trained;
  // The clock is shared, so each call's waits use up the others' deadlines too.
  for (int i = 0; i < 200; ++i)
    trained.push_back(memory_->TrainStepAsync(Step(), {.deadline = absl::Hours(100)}));
  std::set<uint64_t> slots;
  for (Future<TrainStepResult>& future : trained) {
    const absl::StatusOr<TrainStepResult> result = future.get();
    ASSERT_TRUE(result.ok()) << result.status();
    slots.insert(result->slots[0]);
  }
  EXPECT_THAT(slots, SizeIs(200));
  EXPECT_EQ(server_.step("faces"), 200u);
  std::set<std::string> sessions;
  for (const SeenCall& call : server_.calls("TrainStep")) sessions.insert(call.session);
  EXPECT_LE(sessions.size(), 64u);
}

TEST_F(MemoryAsyncTest, TheClientWaitsForItsCallsWhenItGoes) {
  std::atomic<int> completed = 0;
  server_.Fail("Query", std::vector<Fault>(3, kNotReached));
  for (int i = 0; i < 10; ++i) {
    memory_->QueryAsync(Question(), [&](absl::StatusOr<QueryResult> result) {
      EXPECT_TRUE(result.ok()) << result.status();
      ++completed;
    });
  }
  memory_.reset();
  client_.reset();
  EXPECT_EQ(completed, 10);
}

TEST_F(MemoryAsyncTest, ClientAndMemoryMayGoInsideACompletion) {
  absl::Notification gone;
  memory_->QueryAsync(Question(), [&](absl::StatusOr<QueryResult> result) {
    EXPECT_TRUE(result.ok()) << result.status();
    memory_.reset();
    client_.reset();
    gone.Notify();
  });
  gone.WaitForNotification();
}

class MemoryAsyncOfTwoTest : public MemoryAsyncTest {
 protected:
  MemoryAsyncOfTwoTest() : MemoryAsyncTest(2) {}
};

TEST_F(MemoryAsyncOfTwoTest, NoMoreCallsAreUnderwayThanTheOptionSays) {
  std::atomic<int> completed = 0;
  server_.Hold("Query");
  std::thread caller([&] {
    for (int begun = 1; begun <= 20; ++begun) {
      memory_->QueryAsync(Question(), [&](const absl::StatusOr<QueryResult>&) { ++completed; });
      EXPECT_LE(begun - completed, 2);
    }
  });
  server_.AwaitCalls("Query", 2);
  server_.Release("Query");
  caller.join();
  client_.reset();
  EXPECT_EQ(completed, 20);
}

TEST_F(MemoryAsyncOfTwoTest, ACompletionBeginsTheNextCallWithoutWaiting) {
  std::atomic<int> left = 50;
  absl::Notification done;
  std::function<void()> next = [&] {
    memory_->QueryAsync(Question(), [&](const absl::StatusOr<QueryResult>&) {
      if (--left > 0) return next();
      if (left == 0) done.Notify();
    });
  };
  next();
  next();
  done.WaitForNotification();
  client_.reset();
}

}  // namespace
}  // namespace evoke::client
