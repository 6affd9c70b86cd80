#include "evoke/request_scope.h"

#include <set>
#include <thread>

#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "evoke/train_pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr char kTraceParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class RequestScopeTest : public testing::Test {
 protected:
  RequestScopeTest() {
    server_.AddMemory("faces", 2);
    client_ = Client::Connect({.addresses = {server_.address()}, .clock = std::make_shared<ManualClock>()}).value();
    memory_.emplace(client_->OpenMemory("faces").value());
  }
  absl::Status Query() { return memory_->Query({.embeddings = MatrixView::Float32(x_, 1)}).status(); }
  absl::Status Update() {
    return memory_->Update({.embeddings = MatrixView::Float32(x_, 1), .values = y_}).status();
  }
  std::vector<std::string> Ids(const std::string& method) const { return server_.metadata(method, "x-request-id"); }

  const std::vector<float> x_ = {3, 4};
  const std::vector<int64_t> y_ = {7};
  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
};

TEST_F(RequestScopeTest, EveryCallHasAnIdOfItsOwnAndNoTrace) {
  ASSERT_TRUE(Query().ok() && Query().ok());
  const std::vector<std::string> ids = Ids("Query");
  ASSERT_THAT(ids, SizeIs(2));
  EXPECT_NE(ids[0], ids[1]);
  for (const std::string& id : ids) EXPECT_TRUE(IsRequestId(id)) << id;
  EXPECT_THAT(server_.metadata("Query", "traceparent"), Each(""));
}

TEST_F(RequestScopeTest, AScopeNamesTheCallsOfItsThreadUntilItEnds) {
  {
    const RequestScope scope({.request_id = "order-66", .traceparent = kTraceParent});
    ASSERT_TRUE(Query().ok());
    {
      const RequestScope inner({.request_id = "order-67"});
      ASSERT_TRUE(Query().ok());
    }
    std::thread([&] { ASSERT_TRUE(Query().ok()); }).join();
  }
  ASSERT_TRUE(Query().ok());
  const std::vector<std::string> ids = Ids("Query");
  EXPECT_EQ(ids[0], "order-66");
  EXPECT_EQ(ids[1], "order-67");
  EXPECT_THAT(ids[2], Not(HasSubstr("order")));
  EXPECT_THAT(ids[3], Not(HasSubstr("order")));
  EXPECT_THAT(server_.metadata("Query", "traceparent"), ElementsAre(kTraceParent, kTraceParent, "", ""));
}

TEST_F(RequestScopeTest, AllAttemptsOfACallHaveOneId) {
  server_.Fail("Query", {{}, {}});
  ASSERT_TRUE(Query().ok());
  ASSERT_THAT(Ids("Query"), SizeIs(3));
  EXPECT_EQ(std::set<std::string>({Ids("Query")[0], Ids("Query")[1], Ids("Query")[2]}).size(), 1u);
}

TEST_F(RequestScopeTest, AnUpdateWhoseSessionWasForgottenKeepsItsId) {
  ASSERT_TRUE(Update().ok());
  server_.ForgetSessions("faces");
  ASSERT_TRUE(Update().ok());
  const std::vector<std::string> ids = Ids("Update");
  ASSERT_THAT(ids, SizeIs(3));
  EXPECT_EQ(ids[1], ids[2]);
  EXPECT_EQ(Ids("DescribeMemory").back(), ids[1]) << "what the call asks on its way is a part of it";
}

TEST_F(RequestScopeTest, AnErrorTellsTheIdToAskWith) {
  server_.Fail("Query", {{.code = absl::StatusCode::kInternal, .reason = "INTERNAL"}});
  const absl::Status status = Query();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(GetErrorDetails(status).request_id, Ids("Query")[0]);
  EXPECT_THAT(std::string(status.message()), HasSubstr(", request " + Ids("Query")[0] + ": "));
}

TEST_F(RequestScopeTest, AsynchronousCallsAndPipelinesAreNamedByTheThreadThatBeganThem) {
  const RequestScope scope({.request_id = "batch-1", .traceparent = kTraceParent});
  ASSERT_TRUE(memory_->QueryAsync({.embeddings = MatrixView::Float32(x_, 1)}).get().ok());
  auto pipeline = TrainPipeline::Create(*memory_).value();
  ASSERT_TRUE(pipeline->Submit({.embeddings = MatrixView::Float32(x_, 1), .values = y_}).get().ok());
  EXPECT_THAT(Ids("Query"), ElementsAre("batch-1"));
  EXPECT_THAT(Ids("TrainStream"), ElementsAre("batch-1"));
  EXPECT_THAT(server_.metadata("TrainStream", "traceparent"), ElementsAre(kTraceParent));
}

TEST_F(RequestScopeTest, NamesThatCannotBeSentAreAsIfTheyWereNotThere) {
  const RequestScope scope({.request_id = "two\nlines", .traceparent = "00-zz"});
  ASSERT_TRUE(Query().ok());
  EXPECT_THAT(Ids("Query")[0], AllOf(Not(HasSubstr("two")), testing::Truly(IsRequestId)));
  EXPECT_THAT(server_.metadata("Query", "traceparent"), ElementsAre(""));
}

}  // namespace
}  // namespace evoke::client
