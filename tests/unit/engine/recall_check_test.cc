// What a recall check counts, of answers whose faults are known.
#include "server/engine/recall_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "server/index/index_factory.h"
#include "server/memory/slot_table.h"
#include "server/similarity/similarity.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

constexpr uint32_t kDim = 16;

std::vector<float> Unit(std::mt19937_64& random) {
  std::vector<float> x = RandomVector(random, Kind::kNormal, kDim);
  Normalise(x.data(), kDim, x.data());
  return x;
}

class RecallCheckTest : public ::testing::Test {
 protected:
  // A table of `capacity` slots, every seventh of them free.
  void Fill(uint32_t capacity) {
    table_ = std::make_unique<SlotTable>(*SlotTable::Create(capacity, kDim));
    for (uint32_t p = 0; p < capacity; ++p) {
      if (p % 7 != 0) table_->Set(p, {.value = p, .written_step = p + 1, .hits = 0}, Unit(random_));
    }
  }
  KeyMatrixView Keys() const {
    return {.planes = table_->keys(), .dim = kDim, .rows = table_->rows(), .live = table_->live_words(),
            .live_count = table_->live_count()};
  }
  // The exact answer for 3 rows.
  std::vector<SearchResult> Search(uint32_t want) {
    rows_.clear();
    for (int r = 0; r < 3; ++r) {
      const std::vector<float> row = Unit(random_);
      rows_.insert(rows_.end(), row.begin(), row.end());
    }
    const auto index = *CreateIndex("canonical", {.dim = kDim, .capacity = table_->rows()});
    return index->Search(Keys(), rows_.data(), std::vector<uint32_t>(3, want));
  }

  std::mt19937_64 random_{7};
  std::unique_ptr<SlotTable> table_;
  std::vector<float> rows_;
};

TEST_F(RecallCheckTest, MissesNothingOfAnExactAnswer) {
  Fill(1000);
  for (const uint32_t want : {1u, 10u, 2000u}) {
    RecallCheck check;
    const std::vector<SearchResult> answer = Search(want);
    check.Look(Keys(), rows_.data(), answer);
    EXPECT_GT(check.found(), 0u);
    EXPECT_EQ(check.missed(), 0u) << want;
  }
}

TEST_F(RecallCheckTest, CountsEachNeighborThatIsNotNamedAndNoneThatIsFartherThanTheLast) {
  Fill(1000);
  std::vector<SearchResult> answer = Search(10);
  for (SearchResult& row : answer) {
    row.bound = SearchResult::Bound::kUnproven;
    row.candidates.erase(row.candidates.begin() + 2, row.candidates.begin() + 5);
  }
  RecallCheck check;
  check.Look(Keys(), rows_.data(), answer);
  EXPECT_EQ(check.found(), 3u * 7);
  EXPECT_EQ(check.missed(), 3u * 3);
}

TEST_F(RecallCheckTest, AnAnswerThatCallsItselfCompleteMustNameAllThatLive) {
  Fill(14);
  std::vector<SearchResult> answer = Search(100);
  ASSERT_EQ(answer[0].bound, SearchResult::Bound::kComplete);
  for (SearchResult& row : answer) row.candidates.pop_back();
  RecallCheck check;
  check.Look(Keys(), rows_.data(), answer);
  EXPECT_EQ(check.found(), 3u * 11);
  EXPECT_EQ(check.missed(), 3u * 1);
}

TEST_F(RecallCheckTest, ALookTakesARunOfPositionsAndTheNextOneGoesOnFromThere) {
  Fill(40000);  // more than four runs of 2^17 / 16
  RecallCheck check;
  const std::vector<SearchResult> answer = Search(50);
  uint64_t seen = 0;
  for (int look = 0; look < 3; ++look) {
    check.Look(Keys(), rows_.data(), answer);
    EXPECT_GT(check.found(), seen);
    EXPECT_LT(check.found() - seen, 3u * 50);
    seen = check.found();
  }
  EXPECT_EQ(check.missed(), 0u);
}

TEST_F(RecallCheckTest, LooksOnceAGrant) {
  Fill(100);
  RecallCheck check;
  EXPECT_TRUE(check.Looks());
  const std::vector<SearchResult> answer = Search(3);
  check.Look(Keys(), rows_.data(), answer);
  EXPECT_FALSE(check.Looks());
  check.Grant();
  EXPECT_TRUE(check.Looks());
}

TEST_F(RecallCheckTest, FollowsWhatTheIndexDoesToday) {
  Fill(200);
  RecallCheck check;
  std::vector<SearchResult> bad = Search(100);
  for (SearchResult& row : bad) row.candidates.erase(row.candidates.begin(), row.candidates.begin() + 50);
  for (int i = 0; i < 20; ++i) check.Look(Keys(), rows_.data(), bad);
  EXPECT_NEAR(static_cast<double>(check.missed()) / static_cast<double>(check.found()), 1, 0.05);
  const std::vector<SearchResult> good = Search(100);
  for (int i = 0; i < 40; ++i) check.Look(Keys(), rows_.data(), good);
  EXPECT_LT(check.missed() * 100, check.found());
}

}  // namespace
}  // namespace evoke
