#include "server/engine/slow_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/testing/log_capture.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::LogCapture;

const absl::Time kNow = absl::FromUnixSeconds(1000);

Task Query(const std::string& id, uint32_t rows, const std::string& trace = "") {
  Task task;
  QueryCall call;
  call.rows.skip.resize(rows);
  task.call = std::move(call);
  task.tag = std::make_shared<RequestTag>(RequestTag{.request_id = id, .trace_id = trace, .span_id = ""});
  return task;
}

std::vector<nlohmann::json> Lines(const LogCapture& log) {
  std::vector<nlohmann::json> lines;
  for (const absl::string_view line : absl::StrSplit(log.text(), '\n', absl::SkipEmpty()))
    lines.push_back(nlohmann::json::parse(line.begin(), line.end()));
  return lines;
}

TEST(SlowTurnsTest, ATurnIsSlowFromTheThresholdOnAndNeverWhenItIsZero) {
  SlowTurns slow(absl::Seconds(1));
  EXPECT_FALSE(slow.IsSlow(absl::Milliseconds(999)));
  EXPECT_TRUE(slow.IsSlow(absl::Seconds(1)));
  slow.SetThreshold(absl::Milliseconds(10));
  EXPECT_TRUE(slow.IsSlow(absl::Milliseconds(10)));
  slow.SetThreshold(absl::ZeroDuration());
  EXPECT_FALSE(slow.IsSlow(absl::Hours(1)));
}

TEST(SlowTurnsTest, TheLineTellsWhereTheTimeWentAndWhoWasThere) {
  const LogCapture log;
  TurnReport report;
  report.turn = Turn{17};
  report.rows = 70;
  report.tasks = 3;
  report.committed = true;
  report.phases[static_cast<int>(Phase::kQueue)] = absl::Milliseconds(250);
  report.phases[static_cast<int>(Phase::kCommit)] = absl::Milliseconds(1500);
  const Task small = Query("small", 6), large = Query("large", 64, "4bf92f3577b34da6a3ce929d0e0e4736");
  Task write;
  ClearCall clear;
  clear.mutation.number = 3;
  write.call = std::move(clear);
  SlowTurns(absl::Seconds(1)).Tell({"faces", absl::Seconds(2), report, {&small, &write, &large}}, kNow);

  ASSERT_THAT(Lines(log), SizeIs(1));
  const nlohmann::json line = Lines(log)[0];
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["msg"], "slow turn");
  EXPECT_EQ(line["memory"], "faces");
  EXPECT_EQ(line["turn"], 17);
  EXPECT_EQ(line["seconds"], 2.0);
  EXPECT_EQ(line["rows"], 70);
  EXPECT_EQ(line["tasks"], 3);
  EXPECT_EQ(line["committed"], true);
  EXPECT_EQ(line["queue_seconds"], 0.25);
  EXPECT_EQ(line["commit_seconds"], 1.5);
  for (const char* phase : kPhaseNames) EXPECT_TRUE(line.contains(absl::StrCat(phase, "_seconds"))) << phase;
  EXPECT_THAT(line["request_ids"], ElementsAre("large", "small"));  // the largest first
  EXPECT_THAT(line["mutations"], ElementsAre(std::string(32, '0') + ":3"));
  EXPECT_EQ(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST(SlowTurnsTest, ALineNamesAtMostEightRequests) {
  const LogCapture log;
  const TurnReport report;
  std::vector<Task> tasks;
  for (uint32_t i = 1; i <= 100; ++i) tasks.push_back(Query(absl::StrCat("r", i), i));
  SlowTurn turn{"faces", absl::Seconds(2), report, {}};
  for (const Task& task : tasks) turn.tasks.push_back(&task);
  SlowTurns(absl::Seconds(1)).Tell(turn, kNow);
  EXPECT_THAT(Lines(log)[0]["request_ids"], ElementsAre("r100", "r99", "r98", "r97", "r96", "r95", "r94", "r93"));
}

TEST(SlowTurnsTest, AFloodIsTenLinesAndThenOneASecondThatTellsHowManyAreMissing) {
  const LogCapture log;
  const TurnReport report;
  SlowTurns slow(absl::Milliseconds(1));
  const SlowTurn turn{"faces", absl::Seconds(1), report, {}};
  for (int i = 0; i < 1000; ++i) slow.Tell(turn, kNow);
  ASSERT_THAT(Lines(log), SizeIs(10));
  slow.Tell(turn, kNow + absl::Milliseconds(999));
  ASSERT_THAT(Lines(log), SizeIs(10));
  slow.Tell(turn, kNow + absl::Milliseconds(1001));
  ASSERT_THAT(Lines(log), SizeIs(11));
  EXPECT_FALSE(Lines(log)[9].contains("suppressed"));
  EXPECT_EQ(Lines(log)[10]["suppressed"], 991);
  for (int i = 0; i < 1000; ++i) slow.Tell(turn, kNow + absl::Hours(1));
  EXPECT_THAT(Lines(log), SizeIs(21)) << "a quiet hour saves up no more than ten";
}

}  // namespace
}  // namespace evoke
