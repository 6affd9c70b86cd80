// A shard that compares what it serves with its index and with rows of a store, each damaged in turn.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "server/engine/local_shard.h"

namespace evoke {

// The index of a shard, to damage it.
class LocalShardPeer {
 public:
  static Index& IndexOf(LocalShard& shard) { return *shard.index_; }
};

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class InlineScheduler final : public Scheduler {
 public:
  void Post(Work work) override { work(); }
};

constexpr uint32_t kDim = 4;
const MemorySpec kSpec{.key_dim = kDim, .capacity = 64, .partitions = 4};

std::vector<float> KeyOf(uint64_t slot) { return {1, static_cast<float>(slot), -2, 0}; }

// Slots 1, 5, 9, ... of partition 1 are live, but for every fourth of them.
class ShardAuditTest : public ::testing::TestWithParam<const char*> {
 protected:
  ShardAuditTest() {
    shard_ = *LocalShard::Create({.spec = kSpec,
                                  .partitions = {Partition(1), Partition(3)},
                                  .index = GetParam(),
                                  .scheduler = &scheduler_});
    for (uint64_t slot = 1; slot < kSpec.capacity; slot += 4) {
      if (slot / 4 % 4 == 3) continue;
      EXPECT_TRUE(shard_->Load(SlotId(slot), static_cast<int64_t>(slot), Step(slot + 1), 2, KeyOf(slot)).ok());
      rows_.push_back({.state = {.slot = slot, .value = static_cast<int64_t>(slot), .written_step = slot + 1, .hits = 2},
                       .key = KeyOf(slot)});
    }
    shard_->FinishLoad(Turn(5), Epoch(1));
  }

  AuditAnswer Audit(uint64_t first_block = 0, uint64_t blocks = 16) {
    AuditAnswer answer;
    shard_->Audit({.at = {.epoch = Epoch(1), .term = Term(1), .turn = Turn(5)},
                   .partition = Partition(1),
                   .first_block = first_block,
                   .blocks = blocks,
                   .rows = rows_},
                  [&](absl::StatusOr<AuditAnswer> a) {
                    EXPECT_TRUE(a.ok()) << a.status();
                    answer = *a;
                  });
    EXPECT_TRUE(answer.looked);
    return answer;
  }
  bool has_copy() const { return std::string(GetParam()) == "faiss_flat"; }

  InlineScheduler scheduler_;
  std::unique_ptr<LocalShard> shard_;
  std::vector<SlotContent> rows_;  // of partition 1, as a good store has them
};

TEST_P(ShardAuditTest, FindsNothingWhereNothingDiffers) {
  const AuditAnswer answer = Audit();
  EXPECT_THAT(answer.index_differs, IsEmpty());
  EXPECT_THAT(answer.store_differs, IsEmpty());
}

TEST_P(ShardAuditTest, FindsAndRepairsAKeyThatTheIndexHasWrong) {
  // As if bits of the index's copy had flipped: position 2 is slot 5, 6 is slot 13, which is free.
  const std::vector<uint16_t> high(size_t{8} * kDim + 64, 0x3f00);  // 0.5
  const std::vector<int16_t> low(size_t{8} * kDim, 0);
  const uint64_t live = 0xff;
  const KeyMatrixView view{
      .planes = {high.data(), low.data(), kDim}, .dim = kDim, .rows = 8, .live = &live, .live_count = 8};
  LocalShardPeer::IndexOf(*shard_).Upsert(view, {2, 6});
  const AuditAnswer answer = Audit();
  if (has_copy()) {
    EXPECT_THAT(answer.index_differs, ElementsAre(5, 13));
  } else {
    EXPECT_THAT(answer.index_differs, IsEmpty());  // it has nothing that could be wrong
  }
  EXPECT_THAT(answer.store_differs, IsEmpty());
  EXPECT_THAT(Audit().index_differs, IsEmpty());
}

TEST_P(ShardAuditTest, FindsEveryFieldOfARowThatDiffers) {
  rows_[0].state.value ^= 1;
  rows_[1].state.written_step += 1;
  rows_[2].state.hits = 0;
  rows_[3].key[3] = -0.0f;  // equal as a number
  EXPECT_THAT(Audit().store_differs, ElementsAre(1, 5, 9, 17));
  EXPECT_THAT(Audit().store_differs, ElementsAre(1, 5, 9, 17));  // nothing was repaired
}

TEST_P(ShardAuditTest, FindsARowThatIsMissingAndOneThatIsTooMany) {
  rows_.erase(rows_.begin());
  SlotContent extra = rows_[0];
  extra.state.slot = 13;
  rows_.insert(rows_.begin() + 2, extra);
  EXPECT_THAT(Audit().store_differs, ElementsAre(1, 13));
}

TEST_P(ShardAuditTest, LooksAtTheSliceOnly) {
  rows_.front().state.hits = 9;
  rows_.back().state.hits = 9;
  const std::vector<SlotContent> all = rows_;
  rows_.assign(all.begin() + 3, all.begin() + 6);  // slots 17, 21, 25
  EXPECT_THAT(Audit(4, 4).store_differs, IsEmpty());
}

TEST_P(ShardAuditTest, AnotherTurnThanItsOwnIsRefused) {
  absl::Status status;
  shard_->Audit({.at = {.epoch = Epoch(1), .term = Term(1), .turn = Turn(6)}, .partition = Partition(1), .blocks = 1},
                [&](absl::StatusOr<AuditAnswer> a) { status = a.status(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
}

INSTANTIATE_TEST_SUITE_P(Indexes, ShardAuditTest, ::testing::Values("flat", "faiss_flat"));

}  // namespace
}  // namespace evoke
