// What every SlotStore promises.
#include "storage/slot_store.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/ram_slot_store.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/unit/storage/store_matchers.h"

namespace evoke {
namespace {

using testing::CommitOne;
using testing::ExpectHolds;
using testing::Geometry;
using ::testing::HasSubstr;
using testing::SessionOf;
using testing::TestFolder;
using testing::TurnBuilder;
using testing::UidOf;

class SlotStoreTest : public ::testing::TestWithParam<bool> {
 protected:
  bool on_disk() const { return GetParam(); }

  std::unique_ptr<SlotStore> Make(const Geometry& geometry) {
    const MetaRow first = TurnBuilder(geometry).model().meta;
    if (!on_disk()) {
      return std::make_unique<RamSlotStore>(RamSlotStore::Options{
          .uid = first.uid, .payload_history = geometry.payload_history, .spec_digest = first.spec_digest});
    }
    auto store = RocksDbSlotStore::Open({.path = folder_ / std::to_string(++stores_),
                                         .uid = first.uid,
                                         .key_dim = geometry.key_dim,
                                         .partitions = geometry.partitions,
                                         .payload_history = geometry.payload_history,
                                         .durability = Durability::kWal,
                                         .spec_digest = first.spec_digest,
                                         .create = true});
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  TestFolder folder_;
  int stores_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Ram, SlotStoreTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(RocksDb, SlotStoreTest, ::testing::Values(true));

TEST_P(SlotStoreTest, HoldsWhatRandomTurnsLeadTo) {
  for (const uint32_t history : {0u, 1u, 2u, 4u, 16u}) {
    const Geometry geometry{.payload_history = history};
    TurnBuilder builder(geometry, 100 + history);
    const auto store = Make(geometry);
    ExpectHolds(*store, builder, builder.model(), on_disk());
    for (int turn = 1; turn <= 150; ++turn) {
      const TurnRecord record = turn % 60 == 0 ? builder.Clear() : builder.Next();
      ASSERT_TRUE(CommitOne(store.get(), record).ok());
      if (turn % 10 == 0) ExpectHolds(*store, builder, builder.model(), on_disk());
      if (HasFailure()) FAIL() << "history " << history << ", turn " << turn;
    }
  }
}

TEST_P(SlotStoreTest, OneCommitOfManyTurnsIsTheSameAsManyCommits) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  std::vector<TurnRecord> turns;
  for (int i = 0; i < 20; ++i) turns.push_back(builder.Next());
  std::vector<const TurnRecord*> records;
  for (const TurnRecord& t : turns) records.push_back(&t);
  ASSERT_TRUE(store->Commit(records).ok());
  ExpectHolds(*store, builder, builder.model(), on_disk());
  ASSERT_TRUE(store->Commit(records).ok()) << "applied ones are passed over";
  ExpectHolds(*store, builder, builder.model(), on_disk());
}

TEST_P(SlotStoreTest, PayloadsAreTheFirstAndTheLatestOverManyHits) {
  const Geometry geometry{.payload_history = 3};
  TurnBuilder builder(geometry);
  const auto store = Make(geometry);
  ASSERT_TRUE(CommitOne(store.get(), builder.One(5, /*hit=*/false, "first")).ok());
  for (int hit = 1; hit <= 7; ++hit) {
    const std::string payload = hit == 6 ? "" : "hit " + std::to_string(hit);
    ASSERT_TRUE(CommitOne(store.get(), builder.One(5, /*hit=*/true, payload)).ok());
  }
  SlotPayloads slot{.slot = SlotId(5), .hits = 7};
  ASSERT_TRUE(store->ReadPayloads(absl::MakeSpan(&slot, 1)).ok());
  EXPECT_THAT(slot.payloads, ::testing::ElementsAre(Payload{Step(1), "first"}, Payload{Step(8), "hit 7"}))
      << "the sixth was empty";

  ASSERT_TRUE(CommitOne(store.get(), builder.One(5, /*hit=*/false, "new value")).ok());
  slot.hits = 0;
  ASSERT_TRUE(store->ReadPayloads(absl::MakeSpan(&slot, 1)).ok());
  EXPECT_THAT(slot.payloads, ::testing::ElementsAre(Payload{Step(9), "new value"}))
      << "nothing of the old value";
}

TEST_P(SlotStoreTest, MissingPayloadRowIsDataLoss) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  SlotPayloads slot{.slot = SlotId(5)};
  const absl::Status status = store->ReadPayloads(absl::MakeSpan(&slot, 1));
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("slot 5"));
}

TEST_P(SlotStoreTest, WhatDoesNotFollowIsRefusedAndNothingIsWritten) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  ASSERT_TRUE(CommitOne(store.get(), builder.Next()).ok());
  const TurnBuilder before = builder;
  const TurnRecord second = builder.Next();
  const TurnRecord third = builder.Next();
  const auto refused = [&](TurnRecord record, const std::string& why) {
    const absl::Status status = CommitOne(store.get(), record);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  };
  refused(third, "a gap, the last one is 1");
  TurnRecord bad = second;
  bad.previous_chain.high ^= 1;
  refused(bad, "continues chain");
  bad = second;
  bad.uid = UidOf(8);
  refused(bad, "of memory 0808");
  bad = second;
  bad.step_before = Step(0);
  refused(bad, "begins at step 0");
  const TurnRecord* holed[] = {&second, &second, &third, &third};
  bad = third;
  bad.previous_chain = {};
  const TurnRecord* broken[] = {&second, &bad};
  EXPECT_TRUE(absl::IsFailedPrecondition(store->Commit(broken))) << "the first alone is not written either";
  ExpectHolds(*store, before, before.model(), on_disk());
  EXPECT_TRUE(store->Commit(holed).ok()) << "the store goes on; repeated turns are passed over";
  ExpectHolds(*store, builder, builder.model(), on_disk());
}

TEST_P(SlotStoreTest, RecordThatContradictsTheSessionsIsRefused) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  const auto op = [](SessionOp::Kind kind, uint64_t number = 0) {
    return SessionOp{.kind = kind, .session = SessionOf(1), .number = number};
  };
  using Kind = SessionOp::Kind;
  const std::vector<std::vector<SessionOp>> bad{{op(Kind::kOutcome, 1)},
                                                {op(Kind::kForget)},
                                                {op(Kind::kAcknowledge, 1)},
                                                {op(Kind::kOpen), op(Kind::kOpen)},
                                                {op(Kind::kOpen), op(Kind::kOutcome, 2)}};
  for (const auto& ops : bad) {
    TurnBuilder attempt = builder;
    EXPECT_TRUE(absl::IsInvalidArgument(CommitOne(store.get(), attempt.WithSessions(ops))));
  }
  ExpectHolds(*store, builder, builder.model(), on_disk());
}

TEST_P(SlotStoreTest, ForgottenSessionLeavesItsLastTurnAndNoReplies) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  const auto commit = [&](std::vector<SessionOp> ops) {
    ASSERT_TRUE(CommitOne(store.get(), builder.WithSessions(std::move(ops))).ok());
  };
  using Kind = SessionOp::Kind;
  commit({{.kind = Kind::kOpen, .session = SessionOf(1)},
          {.session = SessionOf(1), .number = 1, .reply = "one"}});
  commit({{.session = SessionOf(1), .number = 2, .reply = "two"}});
  commit({});
  EXPECT_EQ(store->ReadReply(SessionOf(1), 1).value(), "one");
  commit({{.kind = Kind::kForget, .session = SessionOf(1)}});
  EXPECT_TRUE(absl::IsNotFound(store->ReadReply(SessionOf(1), 1).status()));
  EXPECT_TRUE(absl::IsNotFound(store->ReadReply(SessionOf(1), 2).status()));
  EXPECT_EQ(store->ReadMeta()->forgotten_turn, Turn(2));
  EXPECT_TRUE(store->ScanSessions([](const SessionRow&) { return absl::InternalError("one is left"); }).ok());
}

TEST_P(SlotStoreTest, RecordThatCouldNotBeReadAgainIsRefused) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  TurnRecord record = builder.One(1, false, "x");
  record.writes.push_back(record.writes[0]);
  EXPECT_TRUE(absl::IsInvalidArgument(CommitOne(store.get(), record)));
  EXPECT_EQ(store->AppliedTurn(), Turn(0));
}

TEST_P(SlotStoreTest, PayloadPlaceBeyondTheHistoryIsRefused) {
  TurnBuilder builder;
  const auto store = Make(builder.geometry());
  TurnRecord record = builder.One(1, false, "x");
  record.writes[0].payloads[0].place = 4;
  EXPECT_TRUE(absl::IsInvalidArgument(CommitOne(store.get(), record)));
}

TEST(RamSlotStoreTest, KeepsNoRecordsAndCountsItsBytes) {
  TurnBuilder builder;
  RamSlotStore store({.uid = builder.model().meta.uid, .payload_history = 4});
  ASSERT_TRUE(CommitOne(&store, builder.One(1, false, "12345")).ok());
  EXPECT_EQ(store.ApproximateBytes(), 5u);
  EXPECT_EQ(store.FirstKeptTurn(), Turn(2));
  const auto never = [](const DecodedTurn&) { return absl::InternalError("visited"); };
  EXPECT_TRUE(store.ReadRecords(Turn(2), never).ok());
  EXPECT_TRUE(absl::IsOutOfRange(store.ReadRecords(Turn(1), never)));
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(CommitOne(&store, builder.Next()).ok());
  ASSERT_TRUE(CommitOne(&store, builder.Clear()).ok());
  uint64_t replies = 0;
  for (const auto& [id, session] : builder.model().sessions) {
    for (const auto& [number, reply] : session.replies) replies += reply.size();
  }
  EXPECT_EQ(store.ApproximateBytes(), replies) << "payloads are gone with the slots";
}

}  // namespace
}  // namespace evoke
