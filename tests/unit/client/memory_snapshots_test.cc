// Snapshots and restores, seen from the caller of the library, against a server that misbehaves.
#include "evoke/snapshots.h"

#include <thread>

#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::SizeIs;

const Fault kLost = {.apply = true};  // done, but the connection broke before the reply
const Fault kNotReached = {};

class MemorySnapshotsTest : public testing::Test {
 protected:
  MemorySnapshotsTest() {
    server_.AddMemory("faces", 2);
    client_ =
        *Client::Connect({.addresses = {server_.address()}, .deadline = absl::Seconds(10), .clock = clock_});
    memory_.emplace(*client_->OpenMemory("faces"));
  }

  absl::Status Train() {
    return memory_->Update({.embeddings = MatrixView::Float32(embedding_, 1), .values = values_}).status();
  }

  const std::vector<float> embedding_ = {1, 0};
  const std::vector<int64_t> values_ = {42};
  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
};

TEST(SnapshotTokenTest, TheTextOfATokenIsParsedToTheSameToken) {
  const SnapshotToken token{.uid = Id128::Random(),
                            .epoch = 3,
                            .turn = ~uint64_t{0},
                            .step = 0,
                            .state_hash = "0123456789abcdef0123456789abcdef"};
  const auto parsed = SnapshotToken::Parse(token.ToText());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, token);
}

TEST(SnapshotTokenTest, WhatIsNotTheTextOfATokenIsRefused) {
  const std::string uid(32, 'a'), hash(32, 'b');
  const std::string good = "evoke1:" + uid + ":1:2:3:" + hash;
  ASSERT_TRUE(SnapshotToken::Parse(good).ok());
  for (const std::string& bad :
       {std::string(), good + " ", good + ":", " " + good, "evoke2" + good.substr(6),
        good.substr(0, good.size() - 1), "evoke1:" + uid + ":01:2:3:" + hash,
        "evoke1:" + uid + ":-1:2:3:" + hash, "evoke1:" + uid + ":1:2:18446744073709551616:" + hash,
        "evoke1:" + uid + ":1:2:3:" + std::string(32, 'B'),
        "evoke1:" + std::string(32, 'A') + ":1:2:3:" + hash,
        "evoke1:" + uid + ":1:2:3:" + std::string(32, 'g')}) {
    const auto parsed = SnapshotToken::Parse(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << bad;
    EXPECT_EQ(GetErrorDetails(parsed.status()).reason, "BAD_ARGUMENT") << bad;
  }
}

TEST_F(MemorySnapshotsTest, CreateTellsItsProgressAndTheStateThatItHolds) {
  ASSERT_TRUE(Train().ok());
  std::vector<uint64_t> told;
  const auto snapshot =
      memory_->CreateSnapshot({.progress = [&](absl::string_view phase, uint64_t done, uint64_t total) {
        EXPECT_EQ(phase, "hash");
        EXPECT_EQ(total, 2u);
        told.push_back(done);
      }});
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_THAT(told, ElementsAre(1, 2));
  EXPECT_EQ(snapshot->token.uid, memory_->uid());
  EXPECT_EQ(snapshot->token.step, 1u);
  EXPECT_EQ(memory_->ListSnapshots()->at(0).id, snapshot->id);
  EXPECT_EQ(memory_->VerifySnapshot({.token = snapshot->token})->id, snapshot->id);
  EXPECT_TRUE(*memory_->DeleteSnapshot(snapshot->id));
  EXPECT_FALSE(*memory_->DeleteSnapshot(snapshot->id));
  EXPECT_TRUE(absl::IsNotFound(memory_->VerifySnapshot({.token = snapshot->token}).status()));
}

TEST_F(MemorySnapshotsTest, ASnapshotWhoseReplyWasLostIsNotMadeTwice) {
  ASSERT_TRUE(memory_->CreateSnapshot().ok());
  server_.Fail("CreateSnapshot", {kNotReached, kLost});
  const auto snapshot = memory_->CreateSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_THAT(*memory_->ListSnapshots(), SizeIs(2));
  EXPECT_EQ(memory_->ListSnapshots()->at(1).id, snapshot->id);
  EXPECT_THAT(server_.calls("CreateSnapshot"), SizeIs(3));
}

TEST_F(MemorySnapshotsTest, ARestoreWhoseReplyWasLostIsRecognisedAndNotDoneTwice) {
  ASSERT_TRUE(Train().ok());
  const auto snapshot = memory_->CreateSnapshot();
  ASSERT_TRUE(Train().ok());
  server_.Fail("RestoreSnapshot", {kLost});
  const auto restored = memory_->RestoreSnapshot({.token = snapshot->token});
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->header.epoch, 2u);
  EXPECT_EQ(restored->snapshot.id, snapshot->id);
  EXPECT_EQ(memory_->Describe()->epoch, 2u);
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(MemorySnapshotsTest, ARestoreThatSomebodyElseForestalledIsRefused) {
  ASSERT_TRUE(memory_->CreateSnapshot().ok());
  server_.Fail("RestoreSnapshot", {{.code = StatusCode::kFailedPrecondition, .reason = "STALE_MEMORY"}});
  const auto restored = memory_->RestoreSnapshot({.id = memory_->ListSnapshots()->at(0).id});
  EXPECT_EQ(GetErrorDetails(restored.status()).reason, "STALE_MEMORY");
}

TEST_F(MemorySnapshotsTest, AfterARestoreTheHandleGoesOnWithAnotherSession) {
  ASSERT_TRUE(Train().ok());
  const auto snapshot = memory_->CreateSnapshot();
  ASSERT_TRUE(memory_->RestoreSnapshot({.id = snapshot->id}).ok());
  ASSERT_TRUE(Train().ok());
  const auto calls = server_.calls("Update");
  ASSERT_THAT(calls, SizeIs(2)) << "the new session was accepted at once";
  EXPECT_NE(calls[0].session, calls[1].session);
  EXPECT_EQ(calls[1].number, 1u);
  EXPECT_GE(calls[1].opened_after, 2u) << "after the restore";
}

TEST_F(MemorySnapshotsTest, ARestoreAsANewMemoryIsAHandleOfIt) {
  const auto snapshot = memory_->CreateSnapshot();
  const auto made = client_->RestoreSnapshotAs("again", {.id = snapshot->id}, "faces");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->memory.name(), "again");
  EXPECT_EQ(made->restored.header.uid, made->memory.uid());
}

TEST_F(MemorySnapshotsTest, AForkIsAHandleOfTheCopyAndNamesItsOrigin) {
  ASSERT_TRUE(Train().ok());
  server_.Fail("ForkMemory", {kLost});
  const auto forked = client_->ForkMemory("faces", "trial");
  ASSERT_TRUE(forked.ok()) << forked.status();
  EXPECT_EQ(forked->origin.uid, memory_->uid());
  EXPECT_EQ(forked->origin.step, 1u);
  EXPECT_NE(forked->memory.uid(), memory_->uid());
  EXPECT_EQ(forked->memory.key_dim(), 2u);
  EXPECT_EQ(GetErrorDetails(client_->ForkMemory("faces", "trial").status()).reason, "MEMORY_EXISTS");
}

}  // namespace
}  // namespace evoke::client
