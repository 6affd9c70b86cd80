#include "server/memory/free_slots.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

TEST(FreeSlotsTest, NothingIsFreeWithoutCapacity) {
  FreeSlots free(0);
  EXPECT_EQ(free.Next(0), FreeSlots::kNone);
  EXPECT_EQ(free.count(), 0u);
}

// Sizes around the words of one, two and three levels.
TEST(FreeSlotsTest, AgreesWithASetThroughTakesAndGives) {
  std::mt19937_64 random = SeededGenerator();
  for (const uint32_t capacity : {1u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 262'144u, 262'145u, 300'001u}) {
    FreeSlots free(capacity);
    std::set<uint32_t> model;
    for (uint32_t p = 0; p < capacity; ++p) model.insert(model.end(), p);
    // Long runs of taken ones, so that whole words and words of words are empty.
    for (uint32_t p = 0; p < capacity; ++p) {
      if (p % 8192 == 17) continue;
      free.Take(p);
      model.erase(p);
    }
    for (int i = 0; i < 2000; ++i) {
      const uint32_t p = static_cast<uint32_t>(random() % capacity);
      ASSERT_EQ(free.IsFree(p), model.contains(p));
      if (model.erase(p) > 0) {
        free.Take(p);
      } else {
        free.Give(p);
        model.insert(p);
      }
      const uint32_t from = static_cast<uint32_t>(random() % (capacity + 2));
      const auto next = model.lower_bound(from);
      ASSERT_EQ(free.Next(from), next == model.end() ? FreeSlots::kNone : *next)
          << capacity << " from " << from;
      ASSERT_EQ(free.count(), model.size());
    }
    free.Clear();
    EXPECT_EQ(free.count(), capacity);
    EXPECT_EQ(free.Next(capacity - 1), capacity - 1);
    EXPECT_EQ(free.Next(capacity), FreeSlots::kNone);
  }
}

}  // namespace
}  // namespace evoke
