#include "server/memory/age_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint32_t> Walk(const AgeOrder& order) {
  std::vector<uint32_t> positions;
  for (uint32_t p = order.oldest(); p != AgeOrder::kNone; p = order.Next(p)) positions.push_back(p);
  EXPECT_EQ(order.youngest(), positions.empty() ? AgeOrder::kNone : positions.back());
  return positions;
}

TEST(AgeOrderTest, WrittenPositionsMoveToTheBack) {
  AgeOrder order(5);
  EXPECT_THAT(Walk(order), IsEmpty());
  for (const uint32_t p : {3, 0, 4}) order.PushBack(p);
  EXPECT_THAT(Walk(order), ElementsAre(3, 0, 4));
  order.MoveToBack(0);
  EXPECT_THAT(Walk(order), ElementsAre(3, 4, 0));
  order.MoveToBack(0);
  EXPECT_THAT(Walk(order), ElementsAre(3, 4, 0));
  order.MoveToBack(3);
  EXPECT_THAT(Walk(order), ElementsAre(4, 0, 3));
}

TEST(AgeOrderTest, RemovedAtEitherEndAndInTheMiddle) {
  AgeOrder order(4);
  for (const uint32_t p : {0, 1, 2, 3}) order.PushBack(p);
  order.Remove(1);
  EXPECT_THAT(Walk(order), ElementsAre(0, 2, 3));
  order.Remove(3);
  order.Remove(0);
  EXPECT_THAT(Walk(order), ElementsAre(2));
  order.Remove(2);
  EXPECT_THAT(Walk(order), IsEmpty());
  order.PushBack(1);
  EXPECT_THAT(Walk(order), ElementsAre(1));
}

}  // namespace
}  // namespace evoke
