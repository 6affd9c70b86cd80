#include "client/load/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace evoke::load {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

Measurements SomeCalls() {
  Measurements seen;
  for (int i = 0; i < 200; ++i) seen.of(Method::kQuery).latency.Record(absl::Milliseconds(2));
  seen.errors["UNAVAILABLE"] = 3;
  return seen;
}

TEST(ProgressTest, OnATerminalOneLineIsDrawnAgainAndCoversTheOneBefore) {
  std::ostringstream out;
  {
    Progress progress({.out = out, .terminal = true});
    progress.OnTick(SomeCalls(), absl::Seconds(1), {.in_flight = 8, .behind = absl::Seconds(1)});
    progress.OnTick(Measurements(), absl::Seconds(1), {});
  }
  const std::string text = out.str();
  EXPECT_THAT(text,
              HasSubstr("\rQuery 200/s p50 2.00 ms p99 2.00 ms | errors 3, in flight 8, behind 1.00 s\r"));
  const size_t second = text.rfind("\rno call ended | errors 0, in flight 0");
  ASSERT_NE(second, std::string::npos);
  EXPECT_EQ(text.size() - second - 1, second);  // as long as the first, its newline in place of the return
  EXPECT_THAT(text, EndsWith(" \n"));
}

TEST(ProgressTest, ElsewhereEveryWindowIsALineAndTicksAreNot) {
  std::ostringstream out;
  Progress progress({.out = out, .terminal = false});
  progress.OnTick(SomeCalls(), absl::Seconds(1), {});
  progress.OnWindow(3, {.length = absl::Seconds(2)}, SomeCalls(), {.in_flight = 1});
  progress.Note("100 calls/s: met");
  EXPECT_EQ(out.str(),
            "window 3: Query 100/s p50 2.00 ms p99 2.00 ms | errors 3, in flight 1\n100 calls/s: met\n");
}

TEST(ProgressTest, LatenciesHaveThreeDigits) {
  EXPECT_EQ(LatencyText(absl::Nanoseconds(812'345)), "812 us");
  EXPECT_EQ(LatencyText(absl::Microseconds(4311)), "4.31 ms");
  EXPECT_EQ(LatencyText(absl::Milliseconds(43.11)), "43.1 ms");
  EXPECT_EQ(LatencyText(absl::Milliseconds(1200)), "1.20 s");
  EXPECT_EQ(LatencyText(absl::ZeroDuration()), "0.00 us");
}

}  // namespace
}  // namespace evoke::load
