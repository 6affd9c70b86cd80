#include "server/memory/value_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::vector<uint32_t> NewestFirst(const ValueIndex& index, int64_t value) {
  std::vector<uint32_t> positions;
  for (uint32_t p = index.Find(value).newest; p != ValueIndex::kNone; p = index.Older(p))
    positions.push_back(p);
  return positions;
}

TEST(ValueIndexTest, MostRecentlyWrittenFirst) {
  ValueIndex index(8);
  const int64_t value = std::numeric_limits<int64_t>::min();
  for (const uint32_t p : {5, 0, 7}) index.Add(p, value, 0);
  index.Add(1, -1, 0);
  EXPECT_THAT(NewestFirst(index, value), ElementsAre(7, 0, 5));
  index.Renew(0, value, 0, 1);
  EXPECT_THAT(NewestFirst(index, value), ElementsAre(0, 7, 5));
  index.Renew(0, value, 1, 2);
  EXPECT_THAT(NewestFirst(index, value), ElementsAre(0, 7, 5));
  index.Remove(7, value, 0);
  EXPECT_THAT(NewestFirst(index, value), ElementsAre(0, 5));
  EXPECT_EQ(index.distinct_values(), 2u);
}

TEST(ValueIndexTest, EachValueThatLivesIsVisitedOnce) {
  ValueIndex index(8);
  for (const uint32_t p : {0, 1, 2}) index.Add(p, 7, 0);
  index.Add(3, -1, 0);
  index.Add(4, 5, 0);
  index.Remove(4, 5, 0);
  std::vector<int64_t> visited;
  index.VisitValues([&](int64_t value) { visited.push_back(value); });
  EXPECT_THAT(visited, UnorderedElementsAre(-1, 7));
}

TEST(ValueIndexTest, ObservationsCountTheWriteAndItsHitsEvenWhenSaturated) {
  ValueIndex index(4);
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  index.Add(0, 3, 0);
  index.Renew(0, 3, 0, 1);
  index.Add(2, 3, kMost);
  EXPECT_EQ(index.Find(3).live_slots, 2u);
  EXPECT_EQ(index.Find(3).observations, 2 + 1 + uint64_t{kMost});
  index.Renew(2, 3, kMost, kMost);
  index.Remove(0, 3, 1);
  EXPECT_EQ(index.Find(3).observations, 1 + uint64_t{kMost});
  index.Remove(2, 3, kMost);
  EXPECT_EQ(index.Find(3).live_slots, 0u);
  EXPECT_THAT(NewestFirst(index, 3), IsEmpty());
  EXPECT_EQ(index.distinct_values(), 0u);
}

TEST(ValueIndexTest, GivesMemoryBackWhenValuesGo) {
  constexpr uint32_t kSlots = 100'000;
  ValueIndex index(kSlots);
  for (uint32_t p = 0; p < kSlots; ++p) index.Add(p, p, 0);
  EXPECT_LE(index.MemoryBytes(), kSlots * (8 + 58));
  for (uint32_t p = 0; p < kSlots; ++p) {
    index.Remove(p, p, 0);
    index.Add(p, -1, 0);
  }
  EXPECT_LE(index.MemoryBytes(), kSlots * 9);
  EXPECT_EQ(index.Find(-1).live_slots, kSlots);
}

}  // namespace
}  // namespace evoke
