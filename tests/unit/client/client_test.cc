#include "evoke/client.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"
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

constexpr MemorySpec kSpec = {.key_dim = 4, .capacity = 16};

class ClientTest : public testing::Test {
 protected:
  std::unique_ptr<Client> Connect(std::vector<std::string> addresses) {
    return *Client::Connect(
        {.addresses = std::move(addresses), .deadline = absl::Seconds(10), .clock = clock_});
  }

  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::unique_ptr<Client> client_ = Connect({server_.address()});
};

TEST_F(ClientTest, OptionsOutOfBoundsAreRefused) {
  const auto message = [](ClientOptions options) {
    return std::string(Client::Connect(std::move(options)).status().message());
  };
  EXPECT_THAT(message({.addresses = {}}), HasSubstr("address"));
  EXPECT_THAT(message({.addresses = {"localhost"}}), HasSubstr("\"localhost\""));
  EXPECT_THAT(message({.addresses = {"localhost:"}}), HasSubstr("\"localhost:\""));
  EXPECT_THAT(message({.addresses = {"unix:"}}), HasSubstr("\"unix:\""));
  EXPECT_THAT(message({.deadline = absl::InfiniteDuration()}), HasSubstr("deadline"));
  EXPECT_THAT(message({.deadline = absl::ZeroDuration()}), HasSubstr("deadline"));
  EXPECT_THAT(message({.retry = {.max_attempts = -1}}), HasSubstr("max_attempts"));
}

TEST_F(ClientTest, ADeadlineOfACallIsCheckedLikeTheDefault) {
  EXPECT_TRUE(absl::IsInvalidArgument(client_->Status(absl::InfiniteDuration()).status()));
}

TEST_F(ClientTest, TalksOverAUnixSocket) {
  const std::string address = absl::StrCat("unix:", testing::TempDir(), "/evoke_client_test.", getpid());
  FakeServer server(address);
  EXPECT_EQ(Connect({address})->Status()->version, "fake");
}

TEST_F(ClientTest, AnAbsentServerIsUnavailableAfterTheDeadline) {
  const absl::Time start = clock_->Now();
  const absl::Status status = Connect({"127.0.0.1:1"})->Status(absl::Seconds(3)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_GT(GetErrorDetails(status).attempts, 2);
  EXPECT_LE(clock_->Now() - start, absl::Seconds(3));
}

TEST_F(ClientTest, GoesOnToTheNextAddressWhenOneIsUnavailableAndStaysThere) {
  const std::unique_ptr<Client> client = Connect({"127.0.0.1:1", server_.address()});
  ASSERT_TRUE(client->Status().ok());
  EXPECT_THAT(clock_->sleeps(), SizeIs(1));
  ASSERT_TRUE(client->Status().ok());
  EXPECT_THAT(clock_->sleeps(), SizeIs(1));
}

TEST_F(ClientTest, CreateIsRepeatedWithTheSameUidAndStillSaysThatItCreated) {
  server_.Fail("CreateMemory", {{.apply = true}});
  absl::StatusOr<CreateMemoryResult> created = client_->CreateMemory("faces", kSpec);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(created->created);
  EXPECT_EQ(created->memory.name(), "faces");
  EXPECT_EQ(created->memory.key_dim(), 4u);
  EXPECT_EQ(created->memory.uid(), created->header.uid);
  const std::vector<SeenCall> calls = server_.calls("CreateMemory");
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[0].uid.size(), 16u);
  EXPECT_EQ(calls[1].uid, calls[0].uid);
}

TEST_F(ClientTest, CreateOfAnExistingMemoryIsAnErrorUnlessThatIsFine) {
  ASSERT_TRUE(client_->CreateMemory("faces", kSpec).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(client_->CreateMemory("faces", kSpec).status()));
  const absl::StatusOr<CreateMemoryResult> again =
      client_->CreateMemory("faces", kSpec, {.if_not_exists = true});
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created);
}

TEST_F(ClientTest, OpenAndDescribeOfAnUnknownMemoryAreNotFound) {
  EXPECT_EQ(GetErrorDetails(client_->OpenMemory("faces").status()).reason, "MEMORY_NOT_FOUND");
  EXPECT_TRUE(absl::IsNotFound(client_->DescribeMemory("faces").status()));
}

TEST_F(ClientTest, DeleteIsRepeatedByUidSoThatItCannotTakeANewerMemory) {
  server_.AddMemory("faces", 4);
  const Id128 uid = client_->DescribeMemory("faces")->uid;
  server_.Fail("DeleteMemory", {{.apply = true}});
  const absl::StatusOr<DeleteMemoryResult> result = client_->DeleteMemory("faces");
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_THAT(server_.calls("DeleteMemory"), SizeIs(2));
  EXPECT_EQ(server_.calls("DeleteMemory")[1].uid, uid.ToBytes());
  EXPECT_THAT(*client_->ListMemories(), IsEmpty());
}

TEST_F(ClientTest, DeleteByNameOfAnUnknownMemoryIsNotFoundAndByUidIsFine) {
  EXPECT_EQ(GetErrorDetails(client_->DeleteMemory("faces").status()).reason, "MEMORY_NOT_FOUND");
  const absl::StatusOr<DeleteMemoryResult> gone = client_->DeleteMemory("faces", {.uid = Id128::Random()});
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_FALSE(gone->deleted);
}

TEST_F(ClientTest, ListAndStatusDescribeAllMemories) {
  server_.AddMemory("b", 4);
  server_.AddMemory("a", 2);
  const auto memories = client_->ListMemories();
  ASSERT_THAT(*memories, SizeIs(2));
  EXPECT_EQ((*memories)[0].name, "a");
  EXPECT_EQ((*memories)[0].state, MemoryState::kServing);
  const absl::StatusOr<ServerStatus> status = client_->Status();
  EXPECT_EQ(status->state, ServerState::kServing);
  EXPECT_EQ(status->limits.max_rows, 4096u);
  EXPECT_THAT(status->memories, SizeIs(2));
}

TEST_F(ClientTest, HealthIsWhatTheServerSays) {
  EXPECT_EQ(*client_->Health(), ServingStatus::kServing);
  server_.SetServing(ServingStatus::kNotServing);
  EXPECT_EQ(*client_->Health(), ServingStatus::kNotServing);
  EXPECT_TRUE(absl::IsNotFound(client_->Health("evoke.v1.Nothing").status()));
}

TEST_F(ClientTest, AHandleOutlivesItsClient) {
  server_.AddMemory("faces", 2);
  absl::StatusOr<Memory> memory = client_->OpenMemory("faces");
  client_.reset();
  EXPECT_TRUE(memory->Clear().ok());
}

}  // namespace
}  // namespace evoke::client
