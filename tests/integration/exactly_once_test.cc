// Sessions and numbers (semantics.md, section 5, "Exactly once") as they are on the wire: retries, refusals,
// restarts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr char kTrainStep[] = "/evoke.v1.MemoryService/TrainStep";

class ExactlyOnceTest : public ::testing::Test {
 protected:
  explicit ExactlyOnceTest(std::vector<std::string> flags = {}) : server_(std::move(flags)) {
    server_.Start();
    v1::MemorySpec spec;
    spec.set_key_dim(3);
    spec.set_capacity(8);
    client().Create("faces", spec);
  }

  RawClient& client() {
    if (client_ == nullptr) client_ = std::make_unique<RawClient>(server_.address());
    return *client_;
  }
  void Restart(bool kill) {
    client_.reset();
    if (kill) {
      server_.Kill();
    } else {
      EXPECT_EQ(server_.Stop(), 0);
    }
    server_.Start();
  }

  // A request whose content depends on `salt` and on nothing else.
  static v1::TrainStepRequest Step(const std::string& session, uint64_t number, int salt = 0) {
    v1::TrainStepRequest request;
    request.mutable_memory()->set_name("faces");
    request.mutable_mutation()->set_session(SessionNamed(session));
    request.mutable_mutation()->set_number(number);
    SetMatrix({1, 2, static_cast<float>(salt), -1, static_cast<float>(salt) / 4, 3}, 2,
              request.mutable_embeddings());
    request.set_values(Raw<int64_t>({salt % 3, 7}));
    request.add_payloads("first");
    request.add_payloads("second");
    request.set_form(v1::RETURN_FORM_GRADIENT);
    request.set_confidence_gradient(true);
    return request;
  }
  Fault Send(const v1::TrainStepRequest& request, v1::TrainStepResponse* response) {
    return client().Call(&v1::MemoryService::Stub::TrainStep, request, response);
  }
  Fault Send(const v1::TrainStepRequest& request) {
    v1::TrainStepResponse ignored;
    return Send(request, &ignored);
  }
  v1::TrainStepResponse Applied(const v1::TrainStepRequest& request) {
    v1::TrainStepResponse response;
    const Fault fault = Send(request, &response);
    EXPECT_EQ(fault.code_and_reason, "OK") << fault.message;
    return response;
  }
  // Refused with this, naming the last applied number; and nothing changed.
  void ExpectRefused(const v1::TrainStepRequest& request, const std::string& code_and_reason,
                     uint64_t last_number) {
    const std::string before = State();
    const Fault fault = Send(request);
    EXPECT_EQ(fault.code_and_reason, code_and_reason) << fault.message;
    EXPECT_THAT(fault.metadata, UnorderedElementsAre(Pair("last_number", std::to_string(last_number))));
    EXPECT_EQ(State(), before);
  }
  // Turn, step, epoch and hash.
  std::string State() {
    const v1::StateHashResponse hash = client().StateHash("faces");
    return std::to_string(hash.header().turn()) + " " + std::to_string(hash.header().step()) + " " +
           std::to_string(hash.header().epoch()) + " " + hash.state_hash();
  }
  // The reply without what is added on sending.
  template <typename Response>
  static std::string Stored(Response response) {
    response.mutable_header()->clear_instance();
    response.mutable_header()->clear_term();
    return response.SerializeAsString();
  }

  ServerProcess server_;
  std::unique_ptr<RawClient> client_;
};

TEST_F(ExactlyOnceTest, RetryGetsTheSameBytesAndChangesNothing) {
  const std::string request = Step("a", 1).SerializeAsString();
  std::string first, second;
  ASSERT_EQ(client().CallBytes(kTrainStep, request, &first).code_and_reason, "OK");
  const std::string state = State();
  ASSERT_EQ(client().CallBytes(kTrainStep, request, &second).code_and_reason, "OK");
  EXPECT_EQ(second, first);
  EXPECT_EQ(State(), state);
}

TEST_F(ExactlyOnceTest, RetryAfterARestartGetsTheSameReplyButForTheInstance) {
  for (const bool kill : {false, true}) {
    SCOPED_TRACE(kill ? "kill" : "stop");
    const std::string session = kill ? "killed" : "stopped";
    const v1::TrainStepResponse first = Applied(Step(session, 1, 5));
    const v1::TrainStepResponse second = Applied(Step(session, 2, 6));
    const std::string state = State();
    Restart(kill);
    for (const auto& [number, before] : {std::pair(1, &first), std::pair(2, &second)}) {
      const v1::TrainStepResponse again = Applied(Step(session, number, 4 + number));
      EXPECT_EQ(Stored(again), Stored(*before));
      EXPECT_NE(again.header().instance(), before->header().instance());
      EXPECT_EQ(again.header().term(), 1u);
    }
    EXPECT_EQ(State(), state);
    EXPECT_EQ(Applied(Step(session, 3)).header().step(), second.header().step() + 2) << "the session goes on";
  }
}

TEST_F(ExactlyOnceTest, SentTwiceAtOnceItIsAppliedOnce) {
  for (uint64_t number = 1; number <= 20; ++number) {
    v1::TrainStepRequest request = Step("a", number, static_cast<int>(number));
    request.mutable_mutation()->set_first_unacknowledged(number);
    v1::TrainStepResponse replies[4];
    std::vector<std::thread> threads;
    for (v1::TrainStepResponse& reply : replies) threads.emplace_back([&] { reply = Applied(request); });
    for (std::thread& thread : threads) thread.join();
    for (const v1::TrainStepResponse& reply : replies) {
      EXPECT_EQ(reply.SerializeAsString(), replies[0].SerializeAsString());
      EXPECT_EQ(reply.header().step(), 2 * number);
    }
  }
}

TEST_F(ExactlyOnceTest, AnotherBodyUnderTheSameNumberIsStepReused) {
  Applied(Step("a", 1));
  Applied(Step("a", 2, 1));
  const std::pair<const char*, std::function<void(v1::TrainStepRequest*)>> changes[] = {
      {"value",
       [](auto* r) {
         r->set_values(Raw<int64_t>({1, 8}));
       }},
      {"component", [](auto* r) { r->mutable_embeddings()->mutable_data()->at(0) ^= 1; }},
      {"payload", [](auto* r) { r->set_payloads(1, "another"); }},
      {"no payloads", [](auto* r) { r->clear_payloads(); }},
      {"a row that does not write", [](auto* r) { r->set_write("\x01"); }},
      {"a row that is skipped", [](auto* r) { r->set_skip("\x02"); }},
      {"form", [](auto* r) { r->set_form(v1::RETURN_FORM_SCORES); }},
      {"confidence gradient", [](auto* r) { r->set_confidence_gradient(false); }},
      {"scale",
       [](auto* r) {
         SetMatrix({2, 4, 2, -1, 0.25f, 3}, 2, r->mutable_embeddings());
       }},
  };
  for (const auto& [what, change] : changes) {
    SCOPED_TRACE(what);
    v1::TrainStepRequest request = Step("a", 2, 1);
    change(&request);
    ExpectRefused(request, "INVALID_ARGUMENT/STEP_REUSED", 2);
  }
  // What means the same is the same body.
  v1::TrainStepRequest request = Step("a", 2, 1);
  request.set_write("\x03");
  request.set_skip(std::string(1, '\0'));
  Applied(request);
}

TEST_F(ExactlyOnceTest, AnotherMethodUnderTheSameNumberIsStepReused) {
  Applied(Step("a", 1));
  const std::string before = State();
  v1::UpdateRequest update;
  v1::UpdateResponse updated;
  ASSERT_TRUE(update.ParseFromString(Step("a", 1).SerializeAsString()));  // the fields have the same numbers
  EXPECT_EQ(client().Call(&v1::MemoryService::Stub::Update, update, &updated).code_and_reason,
            "INVALID_ARGUMENT/STEP_REUSED");
  v1::ClearMemoryRequest clear;
  v1::ClearMemoryResponse cleared;
  clear.mutable_memory()->set_name("faces");
  *clear.mutable_mutation() = update.mutation();
  EXPECT_EQ(client().Call(&v1::AdminService::Stub::ClearMemory, clear, &cleared).code_and_reason,
            "INVALID_ARGUMENT/STEP_REUSED");
  EXPECT_EQ(State(), before);
}

TEST_F(ExactlyOnceTest, GapIsStepOutOfOrder) {
  Applied(Step("a", 1));
  ExpectRefused(Step("a", 3), "FAILED_PRECONDITION/STEP_OUT_OF_ORDER", 1);
  Restart(/*kill=*/true);
  ExpectRefused(Step("a", 3), "FAILED_PRECONDITION/STEP_OUT_OF_ORDER", 1);
  Applied(Step("a", 2));
}

TEST_F(ExactlyOnceTest, AcknowledgedNumberIsStepTooOld) {
  for (uint64_t number = 1; number <= 4; ++number) Applied(Step("a", number));
  v1::TrainStepRequest acknowledging = Step("a", 5);
  acknowledging.mutable_mutation()->set_first_unacknowledged(4);
  Applied(acknowledging);
  for (const bool restarted : {false, true}) {
    if (restarted) Restart(/*kill=*/false);
    ExpectRefused(Step("a", 1), "FAILED_PRECONDITION/STEP_TOO_OLD", 5);
    ExpectRefused(Step("a", 3), "FAILED_PRECONDITION/STEP_TOO_OLD", 5);
    Applied(Step("a", 4));
  }
}

TEST_F(ExactlyOnceTest, SecondNumberOfAnUnknownSessionIsSessionUnknown) {
  ExpectRefused(Step("nobody", 2), "FAILED_PRECONDITION/SESSION_UNKNOWN", 0);
  Applied(Step("nobody", 1));
  Applied(Step("nobody", 2));
}

TEST_F(ExactlyOnceTest, SessionBelongsToOneMemory) {
  Applied(Step("a", 1));
  v1::MemorySpec spec;
  spec.set_key_dim(3);
  spec.set_capacity(8);
  client().Create("other", spec);
  v1::TrainStepRequest request = Step("a", 2);
  request.mutable_memory()->set_name("other");
  EXPECT_EQ(Send(request).code_and_reason, "FAILED_PRECONDITION/SESSION_UNKNOWN");
  request.mutable_mutation()->set_number(1);
  Applied(request);
}

TEST_F(ExactlyOnceTest, SessionCannotBeOpenedAfterATurnThatIsStillToCome) {
  v1::TrainStepRequest request = Step("a", 1);
  request.mutable_mutation()->set_opened_after(1);
  EXPECT_EQ(Send(request).code_and_reason, "INVALID_ARGUMENT/BAD_ARGUMENT");
  Applied(Step("b", 1));
  Applied(request);
}

TEST_F(ExactlyOnceTest, SeventeenthUnacknowledgedReplyIsRefused) {
  for (uint64_t number = 1; number <= 16; ++number) Applied(Step("a", number));
  ExpectRefused(Step("a", 17), "RESOURCE_EXHAUSTED/UNACKNOWLEDGED_LIMIT", 16);
  Restart(/*kill=*/true);
  v1::TrainStepRequest request = Step("a", 17);
  ExpectRefused(request, "RESOURCE_EXHAUSTED/UNACKNOWLEDGED_LIMIT", 16);
  EXPECT_FALSE(Send(request).has_retry_delay) << "waiting does not help";
  request.mutable_mutation()->set_first_unacknowledged(1);
  ExpectRefused(request, "RESOURCE_EXHAUSTED/UNACKNOWLEDGED_LIMIT", 16);
  request.mutable_mutation()->set_first_unacknowledged(2);
  Applied(request);
  Applied(Step("b", 1));
}

TEST_F(ExactlyOnceTest, RefusedRequestConsumesNoNumber) {
  v1::TrainStepRequest bad = Step("a", 1);
  bad.set_values("");
  EXPECT_EQ(Send(bad).code_and_reason, "INVALID_ARGUMENT/BAD_SHAPE");
  bad = Step("a", 1);
  bad.mutable_memory()->set_epoch(9);
  EXPECT_EQ(Send(bad).code_and_reason, "FAILED_PRECONDITION/STALE_MEMORY");
  EXPECT_EQ(Applied(Step("a", 1)).header().step(), 2u);
}

TEST_F(ExactlyOnceTest, RetryAcrossAClearIsAnsweredThoughItsEpochIsOver) {
  v1::TrainStepRequest trained = Step("a", 1);
  trained.mutable_memory()->set_epoch(1);
  const v1::TrainStepResponse first = Applied(trained);

  v1::ClearMemoryRequest clear;
  v1::ClearMemoryResponse cleared, again;
  clear.mutable_memory()->set_name("faces");
  clear.mutable_memory()->set_epoch(1);
  clear.mutable_mutation()->set_session(SessionNamed("a"));
  clear.mutable_mutation()->set_number(2);
  ASSERT_EQ(client().Call(&v1::AdminService::Stub::ClearMemory, clear, &cleared).code_and_reason, "OK");
  EXPECT_EQ(cleared.header().epoch(), 2u);
  EXPECT_EQ(cleared.header().step(), 2u);
  EXPECT_EQ(cleared.freed_slots(), 2u);
  const std::string state = State();

  for (const bool restarted : {false, true}) {
    if (restarted) Restart(/*kill=*/true);
    EXPECT_EQ(Stored(Applied(trained)), Stored(first));
    ASSERT_EQ(client().Call(&v1::AdminService::Stub::ClearMemory, clear, &again).code_and_reason, "OK");
    EXPECT_EQ(Stored(again), Stored(cleared));
    EXPECT_EQ(State(), state);
    v1::TrainStepRequest stale = Step("a", 3);
    stale.mutable_memory()->set_epoch(1);
    const Fault fault = Send(stale);
    EXPECT_EQ(fault.code_and_reason, "FAILED_PRECONDITION/STALE_MEMORY");
    EXPECT_THAT(fault.metadata, UnorderedElementsAre(Pair("epoch", "2")));
  }
  EXPECT_EQ(Applied(Step("a", 3)).header().epoch(), 2u);
}

class FewSessionsTest : public ExactlyOnceTest {
 protected:
  FewSessionsTest() : ExactlyOnceTest({"--max-sessions", "2"}) {}
};

TEST_F(FewSessionsTest, ForgottenSessionIsNeverAppliedASecondTime) {
  Applied(Step("a", 1));
  Applied(Step("b", 1));
  Applied(Step("c", 1));  // "a" was used least recently: forgotten, at turn 1
  for (const bool restarted : {false, true}) {
    if (restarted) Restart(/*kill=*/true);
    ExpectRefused(Step("a", 1), "FAILED_PRECONDITION/SESSION_UNKNOWN", 0);
    ExpectRefused(Step("a", 2), "FAILED_PRECONDITION/SESSION_UNKNOWN", 0);
    Applied(Step("b", 1));
    Applied(Step("c", 1));
  }
  v1::TrainStepRequest fresh = Step("d", 1);
  ExpectRefused(fresh, "FAILED_PRECONDITION/SESSION_UNKNOWN",
                0);  // opened after turn 0: it may be a forgotten one
  fresh.mutable_mutation()->set_opened_after(3);
  Applied(fresh);
}

}  // namespace
}  // namespace evoke::testing
