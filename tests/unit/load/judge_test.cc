#include "client/load/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/load/step_ranges.h"

namespace evoke::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ReplyHeader Header(uint64_t turn, uint64_t step, uint64_t epoch = 1) {
  v1::ReplyHeader header;
  header.set_epoch(epoch);
  header.set_turn(turn);
  header.set_step(step);
  return header;
}

TEST(StepRangesTest, MergesWhatTouchesInAnyOrder) {
  StepRanges ranges;
  EXPECT_TRUE(ranges.Add(10, 20));
  EXPECT_TRUE(ranges.Add(30, 40));
  EXPECT_FALSE(ranges.IsExactly(10, 40));
  EXPECT_TRUE(ranges.Add(20, 30));
  EXPECT_TRUE(ranges.IsExactly(10, 40));
  EXPECT_EQ(ranges.count(), 30u);
}

TEST(StepRangesTest, RefusesAnyOverlapAndStaysAsItWas) {
  StepRanges ranges;
  ASSERT_TRUE(ranges.Add(10, 20));
  EXPECT_FALSE(ranges.Add(10, 20));
  EXPECT_FALSE(ranges.Add(15, 25));
  EXPECT_FALSE(ranges.Add(5, 11));
  EXPECT_FALSE(ranges.Add(5, 25));
  EXPECT_FALSE(ranges.Add(12, 13));
  EXPECT_TRUE(ranges.IsExactly(10, 20));
  EXPECT_TRUE(ranges.Add(20, 21));
  EXPECT_TRUE(ranges.Add(9, 10));
  EXPECT_TRUE(ranges.IsExactly(9, 21));
}

TEST(StepRangesTest, IsEmptyOverNoSteps) {
  EXPECT_TRUE(StepRanges().IsExactly(7, 7));
  EXPECT_FALSE(StepRanges().IsExactly(7, 8));
}

class JudgeTest : public ::testing::Test {
 protected:
  Judge judge_{{.epoch = 1, .step = 100}};
  Judge::SessionState a_, b_;
};

TEST_F(JudgeTest, FindsNothingWhenTwoSessionsShareTurnsAndSteps) {
  judge_.OnMutation(Header(5, 110), 10, 0, &a_);
  judge_.OnMutation(Header(5, 115), 5, 0, &b_);
  judge_.OnRead(Header(5, 115), 5);
  judge_.OnMutation(Header(6, 116), 1, 5, &a_);
  judge_.OnReplay(true, "the last one");
  judge_.OnEnd(1, 116);
  const Judge::Verdict verdict = judge_.verdict();
  EXPECT_THAT(verdict.violations, ElementsAre());
  EXPECT_EQ(verdict.steps_acknowledged, 16u);
  EXPECT_EQ(verdict.steps_of_memory, 16u);
  EXPECT_EQ(judge_.acknowledged_turn(), 6u);
}

TEST_F(JudgeTest, FindsAMutationAppliedTwiceByTheStepsOfTheMemory) {
  judge_.OnMutation(Header(5, 120), 10, 0, &a_);  // 10 rows, but the memory went 20
  judge_.OnEnd(1, 120);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("applied twice")));
}

TEST_F(JudgeTest, AllowsMoreStepsWhereOthersWriteToo) {
  Judge shared({.epoch = 1, .step = 100, .shared = true});
  shared.OnMutation(Header(5, 120), 10, 0, &a_);
  shared.OnEnd(1, 125);
  EXPECT_TRUE(shared.verdict().kept());
}

TEST_F(JudgeTest, FindsLostMutations) {
  judge_.OnMutation(Header(5, 110), 10, 0, &a_);
  judge_.OnEnd(1, 105);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("lost")));
}

TEST_F(JudgeTest, FindsAStepGivenTwice) {
  judge_.OnMutation(Header(5, 110), 10, 0, &a_);
  judge_.OnMutation(Header(6, 112), 5, 0, &b_);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("steps 108 to 112")));
}

TEST_F(JudgeTest, FindsAHoleAmongTheAcknowledgedSteps) {
  judge_.OnMutation(Header(5, 105), 5, 0, &a_);
  judge_.OnMutation(Header(6, 112), 5, 5, &a_);
  judge_.OnEnd(1, 110);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("not those that the memory went")));
}

TEST_F(JudgeTest, FindsASessionThatGoesBack) {
  judge_.OnMutation(Header(6, 110), 5, 0, &a_);
  judge_.OnMutation(Header(5, 105), 5, 0, &a_);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("the one before it")));
}

TEST_F(JudgeTest, FindsAReadOlderThanWhatWasAcknowledgedBeforeIt) {
  judge_.OnRead(Header(6, 110), 7);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("turn 6")));
}

TEST_F(JudgeTest, FindsAClearedMemory) {
  judge_.OnRead(Header(6, 110, 2), 0);
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("epoch 2")));
}

TEST_F(JudgeTest, FindsAReplayWithAnotherReply) {
  judge_.OnReplay(false, "number 7");
  EXPECT_THAT(judge_.verdict().violations, ElementsAre(HasSubstr("number 7 was sent again")));
}

TEST_F(JudgeTest, AllowsForWhatIsUnresolvedAndNoMore) {
  judge_.OnMutation(Header(5, 110), 10, 0, &a_);
  judge_.OnUnresolved(3);
  Judge other({.epoch = 1, .step = 100});
  other.OnMutation(Header(5, 110), 10, 0, &b_);
  other.OnUnresolved(3);
  judge_.OnEnd(1, 113);
  other.OnEnd(1, 114);
  EXPECT_TRUE(judge_.verdict().kept());
  EXPECT_FALSE(other.verdict().kept());
}

TEST_F(JudgeTest, CountsAllViolationsAndKeepsTheFirst) {
  for (int i = 0; i < 1000; ++i) judge_.OnViolation("broken");
  EXPECT_EQ(judge_.verdict().violation_count, 1000u);
  EXPECT_EQ(judge_.verdict().violations.size(), 20u);
}

}  // namespace
}  // namespace evoke::load
