#include "server/memory/turn_view.h"

#include <gtest/gtest.h>

#include "server/memory/state_hash.h"
#include "server/memory/write_rule.h"

namespace evoke {
namespace {

// Two rows in two dimensions: the first looks along x, the second along y.
class TurnViewTest : public ::testing::Test {
 protected:
  MemorySpec spec{.key_dim = 2, .capacity = 8, .choose_k = 2, .payload_history = 3};
  std::vector<float> rows = {1, 0, 0, 1};
  TurnView view{&spec, rows, Step(100)};
  Need need;
  std::vector<ScoredSlot> neighbors;

  static Bound After(float similarity, uint64_t slot) {
    return {.kind = Bound::Kind::kRank, .rank = {similarity, slot}};
  }
  static TurnView::Observation Writes(uint32_t row, int64_t value, uint64_t step,
                                      const std::string* payload = nullptr) {
    return {.row = row, .value = value, .step = step, .batch = 1, .payload = payload};
  }
};

TEST_F(TurnViewTest, AsksForNeighborsOfARowThatNothingIsKnownOf) {
  view.SetLive(3);
  EXPECT_FALSE(view.Neighbors(0, 2, &neighbors, &need));
  ASSERT_EQ(need.neighbors.size(), 1u);
  EXPECT_EQ(need.neighbors[0].count, 1u);
}

TEST_F(TurnViewTest, AnEmptyMemoryHasNoNeighborsAndNeedsNothing) {
  EXPECT_TRUE(view.Neighbors(0, 2, &neighbors, &need));
  EXPECT_TRUE(neighbors.empty());
}

TEST_F(TurnViewTest, APendingWriteTakesItsPlaceAmongToldNeighbors) {
  view.SetLive(2);
  view.SetRow(0, {.neighbors = {{.slot = 4, .similarity = 0.5f}, {.slot = 5, .similarity = 0.25f}}, .asked = 2});
  view.Insert(1, std::nullopt, Writes(0, 7, 101));
  ASSERT_TRUE(view.Neighbors(0, 2, &neighbors, &need));
  EXPECT_EQ(neighbors[0].slot, 1u);
  EXPECT_EQ(neighbors[0].similarity, 1.0f);
  EXPECT_EQ(neighbors[1].slot, 4u);
  EXPECT_EQ(view.live(), 3u);
}

TEST_F(TurnViewTest, AnOverwrittenNeighborIsNoneAnyMoreAndTheNextOneMustBeKnown) {
  view.SetLive(4);
  view.SetRow(0, {.neighbors = {{.slot = 4, .similarity = 0.9f}, {.slot = 5, .similarity = 0.8f}},
                  .bound = After(0.8f, 5),
                  .asked = 2});
  view.Insert(4, SlotState{.slot = 4, .value = 1}, Writes(1, 7, 101));  // now orthogonal to row 0
  EXPECT_FALSE(view.Neighbors(0, 2, &neighbors, &need));
  ASSERT_EQ(need.neighbors.size(), 1u);
  EXPECT_EQ(need.neighbors[0].count, 4u);
}

TEST_F(TurnViewTest, APendingSlotBeforeTheBoundNeedsNoMore) {
  view.SetLive(4);
  view.SetRow(0, {.neighbors = {{.slot = 5, .similarity = 0.8f}}, .bound = After(0.8f, 5), .asked = 1});
  view.Insert(0, std::nullopt, Writes(0, 7, 101));
  ASSERT_TRUE(view.Neighbors(0, 2, &neighbors, &need));
  EXPECT_EQ(neighbors[0].slot, 0u);
}

TEST_F(TurnViewTest, NewestOfLabelPassesOverSlotsThatHaveAnotherValueNow) {
  view.SetLive(2);
  view.SetRow(0, {.of_label = {{.slot = 2, .value = 7, .written_step = 50}, {.slot = 3, .value = 7, .written_step = 40}},
                  .of_label_complete = true,
                  .of_label_asked = 2});
  view.Insert(2, SlotState{.slot = 2, .value = 7, .written_step = 50}, Writes(1, 8, 101));
  std::optional<ScoredSlot> newest;
  ASSERT_TRUE(view.NewestOfLabel(0, 7, &newest, &need));
  EXPECT_EQ(newest->slot, 3u);
  ASSERT_TRUE(view.NewestOfLabel(0, 8, &newest, &need));
  EXPECT_EQ(newest->slot, 2u);
}

TEST_F(TurnViewTest, FreeSlotsAreTakenLowestFirstAndAskedForWhenTheyRunOut) {
  view.SetLive(0);
  view.SetFree({0}, /*complete=*/false, 1);
  std::optional<uint64_t> free;
  ASSERT_TRUE(view.LowestFree(&free, &need));
  EXPECT_EQ(*free, 0u);
  view.Insert(0, std::nullopt, Writes(0, 7, 101));
  EXPECT_FALSE(view.LowestFree(&free, &need));
  EXPECT_EQ(need.free, 2u);
}

TEST_F(TurnViewTest, AgeOrderEndsWithTheTurnsOwnWrites) {
  view.SetLive(2);
  view.SetOldest({{.slot = 3, .written_step = 10}, {.slot = 4, .written_step = 20}}, /*complete=*/true, 2);
  view.Insert(3, SlotState{.slot = 3, .written_step = 10}, Writes(0, 7, 101));
  TurnView::AgeWalk walk(&view);
  std::optional<SlotState> slot;
  ASSERT_TRUE(walk.Next(&slot, &need));
  EXPECT_EQ(slot->slot, 4u);
  ASSERT_TRUE(walk.Next(&slot, &need));
  EXPECT_EQ(slot->slot, 3u);
  ASSERT_TRUE(walk.Next(&slot, &need));
  EXPECT_FALSE(slot);
}

TEST_F(TurnViewTest, PayloadsOfHitsGoRoundTheRingAndAMissStartsItAnew) {
  view.SetLive(1);
  const std::string a = "a", b = "b", c = "c";
  view.Insert(0, std::nullopt, Writes(0, 7, 101, &a));
  view.Reinforce({.slot = 0, .value = 7}, Outcome::kHit, Writes(0, 7, 102, &b));
  view.Reinforce({.slot = 0, .value = 7}, Outcome::kHit, Writes(0, 7, 103));
  view.Reinforce({.slot = 0, .value = 7}, Outcome::kHit, Writes(0, 7, 104, &c));
  const auto& payloads = view.Pending(0)->payloads;
  ASSERT_EQ(payloads.size(), 3u);  // the first, and places 1 and 2
  EXPECT_EQ(payloads[1].bytes, "c");  // hit 3 took the place of hit 1
  EXPECT_EQ(payloads[2].bytes, "");   // hit 2 had none: its row says so
  view.Insert(0, SlotState{.slot = 0, .value = 7}, Writes(1, 9, 105, &b));
  ASSERT_EQ(view.Pending(0)->payloads.size(), 1u);
  EXPECT_EQ(view.Pending(0)->payloads[0].place, 0);
}

TEST_F(TurnViewTest, CountsFollowWritesAndTheHashBeforeIsThatOfTheTurnsStart) {
  view.SetLive(1);
  view.AddCount({.value = 7, .live_slots = 1, .observations = 3});
  view.AddKeys({0.6f, 0.8f}, {5});
  const ScoredSlot target{.slot = 5, .similarity = 0.6f, .value = 7, .written_step = 9, .hits = 2};
  view.Reinforce(target, Outcome::kHit, Writes(0, 7, 101));
  view.Reinforce(target, Outcome::kHit, Writes(0, 7, 102));
  EXPECT_EQ(view.Count(7).observations, 5u);
  EXPECT_EQ(view.Pending(5)->hits, 4u);
  const std::vector<float> key = {0.6f, 0.8f};
  EXPECT_EQ(view.Pending(5)->hash_before, SlotHash(5, 7, 9, 2, key));
  view.Insert(5, SlotState{.slot = 5, .value = 7, .hits = 4}, Writes(1, 8, 103));
  EXPECT_EQ(view.Count(7).live_slots, 0u);
  EXPECT_EQ(view.Count(7).observations, 0u);
  EXPECT_EQ(view.Pending(5)->hash_before, SlotHash(5, 7, 9, 2, key));
}

// The walk must end as soon as no younger slot can win: it may not ask for the slots beyond.
TEST(ChooseEvictedTest, WalksNoFurtherThanTheNoiseCanReach) {
  MemorySpec spec{.key_dim = 1, .capacity = 1000, .seed = 3, .age_noise = 100};
  std::vector<float> rows = {1};
  TurnView view(&spec, rows, Step(5000));
  view.SetLive(1000);
  std::vector<SlotState> oldest;
  for (uint64_t i = 0; i < 101; ++i) oldest.push_back({.slot = i, .written_step = 1000 + i});
  view.SetOldest(oldest, /*complete=*/false, 101);
  Need need;
  std::optional<SlotState> out;
  int looked_at = 0;
  const auto count = [&](const SlotState&) { return ++looked_at > 0; };
  ASSERT_TRUE(ChooseEvicted(view, 5001, count, &out, &need));
  EXPECT_LT(looked_at, 60);
  // The winner by definition.
  unsigned __int128 best = 0;
  uint64_t winner = 0;
  for (const SlotState& s : oldest) {
    if (EvictionScore(spec, 5001, s) > best) {
      best = EvictionScore(spec, 5001, s);
      winner = s.slot;
    }
  }
  EXPECT_EQ(out->slot, winner);
}

TEST(ChooseEvictedTest, WithoutNoiseTheOldestEligibleSlotGoes) {
  MemorySpec spec{.key_dim = 1, .capacity = 4};
  std::vector<float> rows = {1};
  TurnView view(&spec, rows, Step(50));
  view.SetLive(3);
  view.SetOldest({{.slot = 2, .written_step = 1}, {.slot = 0, .written_step = 2}, {.slot = 1, .written_step = 3}}, true, 3);
  Need need;
  std::optional<SlotState> out;
  ASSERT_TRUE(ChooseEvicted(view, 51, [](const SlotState& s) { return s.slot != 2; }, &out, &need));
  EXPECT_EQ(out->slot, 0u);
  ASSERT_TRUE(ChooseEvicted(view, 51, [](const SlotState&) { return false; }, &out, &need));
  EXPECT_FALSE(out);
}

}  // namespace
}  // namespace evoke
