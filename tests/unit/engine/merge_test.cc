#include "server/engine/merge.h"

#include <gtest/gtest.h>

namespace evoke {
namespace {

Proposal WithRow(RowProposal row) {
  Proposal p;
  p.rows.push_back(std::move(row));
  return p;
}

Bound AfterLast(const std::vector<ScoredSlot>& listed) {
  return {.kind = Bound::Kind::kRank, .rank = listed.back().rank()};
}

std::vector<uint64_t> SlotsOf(const std::vector<ScoredSlot>& scored) {
  std::vector<uint64_t> slots;
  for (const ScoredSlot& s : scored) slots.push_back(s.slot);
  return slots;
}

TEST(MergeTest, CutsNeighborsWhereAShardCouldHaveABetterOne) {
  RowProposal a{.neighbors = {{.slot = 1, .similarity = 0.9f}, {.slot = 2, .similarity = 0.5f}}};
  a.bound = AfterLast(a.neighbors);
  RowProposal b{.neighbors = {{.slot = 3, .similarity = 0.7f}, {.slot = 4, .similarity = 0.1f}}};
  b.bound = AfterLast(b.neighbors);
  const std::vector<Proposal> proposals = {WithRow(a), WithRow(b)};
  const MergedRow merged = MergeRow(proposals, 0, {.neighbors = 2});
  // Slot 4 is not certain: shard a may have something between 0.5 and 0.1.
  EXPECT_EQ(SlotsOf(merged.neighbors), (std::vector<uint64_t>{1, 3, 2}));
  EXPECT_EQ(merged.bound.kind, Bound::Kind::kRank);
  EXPECT_EQ(merged.bound.rank.slot, 2u);
}

TEST(MergeTest, BreaksTiesBySlotAcrossShards) {
  RowProposal a{.neighbors = {{.slot = 5, .similarity = 0.0f}}};
  RowProposal b{.neighbors = {{.slot = 2, .similarity = -0.0f}}};
  const std::vector<Proposal> proposals = {WithRow(a), WithRow(b)};
  const MergedRow merged = MergeRow(proposals, 0, {.neighbors = 1});
  EXPECT_EQ(SlotsOf(merged.neighbors), (std::vector<uint64_t>{2, 5}));
  EXPECT_EQ(merged.bound.kind, Bound::Kind::kComplete);
}

TEST(MergeTest, AnUnprovenShardMakesTheWholeUnprovenAndCutsNothing) {
  RowProposal a{.neighbors = {{.slot = 1, .similarity = 0.2f}}, .bound = {.kind = Bound::Kind::kUnproven}};
  RowProposal b{.neighbors = {{.slot = 2, .similarity = 0.1f}}};
  const std::vector<Proposal> proposals = {WithRow(a), WithRow(b)};
  const MergedRow merged = MergeRow(proposals, 0, {.neighbors = 1});
  EXPECT_EQ(merged.neighbors.size(), 2u);
  EXPECT_EQ(merged.bound.kind, Bound::Kind::kUnproven);
}

TEST(MergeTest, KeepsOnlyNewestOfALabelThatNoShardCanBeat) {
  RowProposal a{.of_label = {{.slot = 1, .written_step = 40}}, .of_label_complete = false};
  RowProposal b{.of_label = {{.slot = 2, .written_step = 50}, {.slot = 3, .written_step = 30}}};
  const std::vector<Proposal> proposals = {WithRow(a), WithRow(b)};
  const MergedRow merged = MergeRow(proposals, 0, {.of_label = 1});
  EXPECT_EQ(SlotsOf(merged.of_label), (std::vector<uint64_t>{2, 1}));
  EXPECT_FALSE(merged.of_label_complete);
}

TEST(MergeTest, AnIncompleteEmptyListMakesNothingCertain) {
  Proposal a;
  a.oldest_complete = a.free_complete = false;
  Proposal b;
  b.oldest = {{.slot = 1, .written_step = 3}};
  b.free_slots = {9};
  const std::vector<Proposal> proposals = {a, b};
  EXPECT_TRUE(MergeOldest(proposals).slots.empty());
  EXPECT_TRUE(MergeFree(proposals).slots.empty());
}

TEST(MergeTest, OldestAndFreeAreCutAtTheFirstShardThatRunsOut) {
  Proposal a;
  a.oldest = {{.slot = 1, .written_step = 10}, {.slot = 2, .written_step = 20}};
  a.oldest_complete = false;
  a.free_slots = {0, 2};
  a.free_complete = false;
  Proposal b;
  b.oldest = {{.slot = 3, .written_step = 15}, {.slot = 4, .written_step = 25}};
  b.free_slots = {1, 3};
  const std::vector<Proposal> proposals = {a, b};
  const MergedOldest oldest = MergeOldest(proposals);
  ASSERT_EQ(oldest.slots.size(), 3u);
  EXPECT_EQ(oldest.slots[1].slot, 3u);
  EXPECT_FALSE(oldest.complete);
  EXPECT_EQ(MergeFree(proposals).slots, (std::vector<uint64_t>{0, 1, 2}));
}

}  // namespace
}  // namespace evoke
