#include "server/memory/state_hash.h"

#include <gtest/gtest.h>

#include <vector>

#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// The first rows of the hash trace of semantics.md, section 8.
std::vector<float> TraceKey(int b, int j) {
  std::vector<float> x(20);
  for (int e = 0; e < 20; ++e)
    x[e] = static_cast<float>((7 * (b % 5) + 3 * j + 5 * e + e * e * (j % 3 + 1)) % 23 - 11);
  Normalise(x.data(), 20, x.data());
  return x;
}

TEST(StateHashTest, FirstStateOfTheHashTrace) {
  EXPECT_EQ(SlotHash(0, 0, 1, 0, TraceKey(0, 0)).ToString(), "fce9211e92268bf888fe0cdd05a45ec1");
}

// Batch 1 has two rows of values 0 and 1: row 0 hits slot 0, row 1 is written to slot 1.
TEST(StateHashTest, StateIsTheSumOfItsSlots) {
  std::vector<float> key = TraceKey(0, 0);
  Reinforce(key.data(), TraceKey(1, 0).data(), 20);
  Hash128 sum = SlotHash(0, 0, 2, 1, key);
  sum += SlotHash(1, 1, 3, 0, TraceKey(1, 1));
  EXPECT_EQ(sum.ToString(), "cf07366f5955606f619851290964d197");
}

TEST(StateHashTest, EveryFieldCounts) {
  const std::vector<float> key(4096, 0.015625f);
  const Hash128 hash = SlotHash(1, 2, 3, 4, key);
  EXPECT_NE(hash, SlotHash(2, 2, 3, 4, key));
  EXPECT_NE(hash, SlotHash(1, -2, 3, 4, key));
  EXPECT_NE(hash, SlotHash(1, 2, 4, 4, key));
  EXPECT_NE(hash, SlotHash(1, 2, 3, 5, key));
  std::vector<float> other = key;
  other.back() = -other.back();
  EXPECT_NE(hash, SlotHash(1, 2, 3, 4, other));
}

}  // namespace
}  // namespace evoke
