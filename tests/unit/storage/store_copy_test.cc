// A store read beside its commits, copied, and taken over by another memory.
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/unit/storage/store_matchers.h"

namespace evoke {
namespace {

using testing::CommitOne;
using testing::ExpectHolds;
using testing::ModelState;
using testing::SessionOf;
using testing::TestFolder;
using testing::TurnBuilder;
using testing::UidOf;

class StoreCopyTest : public ::testing::Test {
 protected:
  StoreCopyTest() {
    store_ =
        *RocksDbSlotStore::Open(OptionsOf(builder_.model().meta.uid, folder_ / "store", /*create=*/true));
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(CommitOne(store_.get(), builder_.Next()).ok());
  }

  RocksDbSlotStore::Options OptionsOf(const MemoryUid& uid, const std::string& path,
                                      bool create = false) const {
    return {.path = path,
            .uid = uid,
            .key_dim = builder_.geometry().key_dim,
            .partitions = builder_.geometry().partitions,
            .payload_history = builder_.geometry().payload_history,
            .durability = Durability::kWal,
            .spec_digest = builder_.model().meta.spec_digest,
            .create = create};
  }

  // What must be in a copy that belongs to `uid` since `record`.
  static ModelState Adopted(ModelState model, const TurnRecord& record) {
    model.sessions.clear();
    model.meta.uid = record.uid;
    model.meta.epoch = record.epoch;
    model.meta.turn = record.turn;
    model.meta.chain = EncodeTurnRecord(record).chain;
    model.meta.forgotten_turn = Turn(record.turn.value - 1);
    return model;
  }

  static TurnRecord RecordOf(const MetaRow& from, AdminOp admin, const MemoryUid& uid, Epoch epoch, Turn turn,
                             Hash128 chain) {
    return {.uid = uid,
            .epoch = epoch,
            .turn = turn,
            .previous_chain = chain,
            .step_before = from.step,
            .step_after = from.step,
            .admin = admin,
            .origin = StateOrigin{from.uid, from.epoch, from.turn, from.step, from.chain, from.state_hash},
            .state_hash = from.state_hash,
            .live_after = from.live_count};
  }

  TestFolder folder_;
  TurnBuilder builder_;
  std::unique_ptr<RocksDbSlotStore> store_;
};

TEST_F(StoreCopyTest, AReaderSeesItsTurnWhateverIsCommittedLater) {
  const auto reader = *store_->OpenReader();
  const TurnBuilder then = builder_;
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(CommitOne(store_.get(), builder_.Next()).ok());
  ASSERT_TRUE(CommitOne(store_.get(), builder_.Clear()).ok());
  EXPECT_EQ(reader->meta(), then.model().meta);
  std::vector<SlotId> slots;
  std::vector<SlotPayloads> payloads;
  for (const auto& [slot, s] : then.model().slots) {
    slots.push_back(SlotId(slot));
    payloads.push_back({.slot = SlotId(slot), .hits = s.hits});
  }
  size_t at = 0;
  ASSERT_EQ(reader->ReadSlots(slots,
                              [&](const SlotRow& row) {
                                const ModelState::Slot& s = then.model().slots.at(slots[at].value);
                                EXPECT_EQ(row.slot, slots[at++]);
                                EXPECT_EQ(row.value, s.value);
                                EXPECT_EQ(row.written_step, s.written_step);
                                EXPECT_EQ(std::vector<float>(row.key.begin(), row.key.end()), s.key);
                                return absl::OkStatus();
                              }),
            absl::OkStatus());
  EXPECT_EQ(at, slots.size());
  ASSERT_EQ(reader->ReadPayloads(absl::MakeSpan(payloads)), absl::OkStatus());
  for (const SlotPayloads& p : payloads) {
    EXPECT_EQ(p.payloads, then.model().KeptPayloads(p.slot.value, builder_.geometry().payload_history));
  }
  size_t scanned = 0;
  for (uint32_t p = 0; p < builder_.geometry().partitions; ++p) {
    ASSERT_EQ(reader->ScanPartition(Partition(p),
                                    [&](const SlotRow&) {
                                      ++scanned;
                                      return absl::OkStatus();
                                    }),
              absl::OkStatus());
  }
  EXPECT_EQ(scanned, slots.size());
}

TEST_F(StoreCopyTest, AReaderOutlivesItsStoreAndAnswersNothingThen) {
  auto reader = *store_->OpenReader();
  store_.reset();
  EXPECT_TRUE(absl::IsUnavailable(reader->ReadSlots({}, [](const SlotRow&) { return absl::OkStatus(); })));
  EXPECT_TRUE(absl::IsUnavailable(reader->Checkpoint(folder_ / "copy").status()));
  reader.reset();
}

TEST_F(StoreCopyTest, AForkHasTheContentANewNameAndNoSessions) {
  ASSERT_TRUE(store_->Checkpoint(folder_ / "copy").ok());
  const MetaRow from = builder_.model().meta;
  const TurnRecord record = RecordOf(from, AdminOp::kFork, UidOf(9), Epoch(1), Turn(1), {});
  ASSERT_EQ(RocksDbSlotStore::Adopt(OptionsOf(UidOf(9), folder_ / "copy"), record), absl::OkStatus());
  auto fork = RocksDbSlotStore::Open(OptionsOf(UidOf(9), folder_ / "copy"));
  ASSERT_TRUE(fork.ok()) << fork.status();
  ExpectHolds(**fork, builder_, Adopted(builder_.model(), record), true);
  EXPECT_EQ((*fork)->FirstKeptTurn(), Turn(1));
  std::optional<TurnRecord> kept;
  ASSERT_EQ((*fork)->ReadRecords(Turn(1),
                                 [&](const DecodedTurn& turn) {
                                   kept = turn.record;
                                   return absl::OkStatus();
                                 }),
            absl::OkStatus());
  EXPECT_EQ(kept, record);
  ExpectHolds(*store_, builder_, builder_.model(), true);
}

TEST_F(StoreCopyTest, ARestoreGoesOnCountingTurns) {
  ASSERT_TRUE(store_->Checkpoint(folder_ / "copy").ok());
  const TurnBuilder then = builder_;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(CommitOne(store_.get(), builder_.Next()).ok());
  const MetaRow now = builder_.model().meta;
  const TurnRecord record =
      RecordOf(then.model().meta, AdminOp::kRestore, now.uid, now.epoch.Next(), now.turn.Next(), now.chain);
  ASSERT_EQ(RocksDbSlotStore::Adopt(OptionsOf(now.uid, folder_ / "copy"), record), absl::OkStatus());
  auto restored = RocksDbSlotStore::Open(OptionsOf(now.uid, folder_ / "copy"));
  ASSERT_TRUE(restored.ok()) << restored.status();
  ExpectHolds(**restored, then, Adopted(then.model(), record), true);
  EXPECT_EQ((*restored)->ReadMeta()->forgotten_turn, now.turn);
}

TEST_F(StoreCopyTest, ACopyOfAnotherStateOrSpecIsNotAdopted) {
  ASSERT_TRUE(store_->Checkpoint(folder_ / "copy").ok());
  const MetaRow from = builder_.model().meta;
  TurnRecord record = RecordOf(from, AdminOp::kFork, UidOf(9), Epoch(1), Turn(1), {});
  record.origin->state_hash.low ^= 1;
  EXPECT_TRUE(
      absl::IsInvalidArgument(RocksDbSlotStore::Adopt(OptionsOf(UidOf(9), folder_ / "copy"), record)));
  record.origin->state_hash.low ^= 1;
  RocksDbSlotStore::Options other = OptionsOf(UidOf(9), folder_ / "copy");
  other.spec_digest.low ^= 1;
  EXPECT_TRUE(absl::IsInvalidArgument(RocksDbSlotStore::Adopt(other, record)));
  auto copy = RocksDbSlotStore::Open(OptionsOf(from.uid, folder_ / "copy"));
  ASSERT_TRUE(copy.ok()) << copy.status();
  ExpectHolds(**copy, builder_, builder_.model(), true);
}

}  // namespace
}  // namespace evoke
