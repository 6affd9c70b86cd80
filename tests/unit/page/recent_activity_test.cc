#include "server/page/recent_activity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/testing/manual_clock.h"

namespace evoke {
namespace {

using ::testing::IsEmpty;

constexpr size_t kSeconds = SecondRing<SecondOfTurns>::kSeconds;

// A turn of `rows` rows, of which `hits` reinforced and the rest read.
TurnReport Turn(uint32_t rows, uint32_t hits, absl::Duration took = absl::Milliseconds(1)) {
  TurnReport report;
  report.rows = rows;
  report.outcomes[static_cast<int>(Outcome::kHit)] = hits;
  report.phases[static_cast<int>(Phase::kQueue)] = took / 2;
  report.phases[static_cast<int>(Phase::kPropose)] = took / 2;
  return report;
}

class RecentActivityTest : public ::testing::Test {
 protected:
  testing::ManualClock clock_;
  RecentActivity recent_{&clock_, nullptr};
  std::unique_ptr<EngineProbe> probe_ = recent_.Watch("faces", nullptr);
};

TEST_F(RecentActivityTest, ASecondIsShownWhenItIsOver) {
  probe_->OnTurn(Turn(5, 2));
  probe_->OnTurn(Turn(4, 4));
  EXPECT_EQ(recent_.TurnsOf("faces").seconds.back().turns, 0u);
  clock_.Advance(absl::Seconds(1));
  const SecondOfTurns last = recent_.TurnsOf("faces").seconds.back();
  EXPECT_EQ(last.turns, 2u);
  EXPECT_EQ(last.hits, 6u);
  EXPECT_EQ(last.rows_read, 3u);
  EXPECT_FLOAT_EQ(last.slowest_seconds, 0.001f);
}

TEST_F(RecentActivityTest, TwoMinutesLaterItIsForgotten) {
  probe_->OnTurn(Turn(1, 1));
  clock_.Advance(absl::Seconds(kSeconds));
  const auto hits = [](const TurnHistory& history) {
    uint32_t all = 0;
    for (const SecondOfTurns& second : history.seconds) all += second.hits;
    return all;
  };
  EXPECT_EQ(recent_.TurnsOf("faces").seconds.front().hits, 1u);
  EXPECT_EQ(hits(recent_.TurnsOf("faces")), 1u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(hits(recent_.TurnsOf("faces")), 0u);
}

TEST_F(RecentActivityTest, ASecondThatComesRoundAgainBeginsAnew) {
  probe_->OnTurn(Turn(1, 1));
  clock_.Advance(absl::Seconds(kSeconds + 1));  // the same place of the ring
  probe_->OnTurn(Turn(1, 1));
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(recent_.TurnsOf("faces").seconds.back().hits, 1u);
}

TEST_F(RecentActivityTest, QuantilesAreOfTheLastMinute) {
  for (int i = 0; i < 98; ++i) probe_->OnTurn(Turn(1, 0, absl::Milliseconds(2)));
  for (int i = 0; i < 2; ++i) probe_->OnTurn(Turn(1, 0, absl::Milliseconds(500)));
  const TurnHistory history = recent_.TurnsOf("faces");
  EXPECT_NEAR(history.p50_seconds, 0.002, 0.0002);
  EXPECT_NEAR(history.p99_seconds, 0.5, 0.05);
  clock_.Advance(absl::Seconds(70));
  EXPECT_EQ(recent_.TurnsOf("faces").p99_seconds, 0);
}

TEST_F(RecentActivityTest, KeepsTheLatestEvictionsTheLatestFirst) {
  TurnReport report = Turn(100, 0);
  for (uint64_t step = 1; step <= 100; ++step) report.evictions.push_back({.slot = step, .step = step});
  probe_->OnTurn(report);
  report.evictions = {{.slot = 7, .old_value = 1, .new_value = 2, .age = 3, .step = 101}};
  clock_.Advance(absl::Seconds(5));
  probe_->OnTurn(report);
  const std::vector<RecentEviction> evictions = recent_.TurnsOf("faces").evictions;
  ASSERT_EQ(evictions.size(), RecentActivity::kEvictionsKept);
  EXPECT_EQ(evictions[0].step, 101u);
  EXPECT_EQ(evictions[0].at, clock_.Now());
  EXPECT_EQ(evictions[1].step, 100u);
  EXPECT_EQ(evictions[1].at, clock_.Now() - absl::Seconds(5));
}

TEST_F(RecentActivityTest, AMemoryThatIsGoneLeavesNothingAndAnotherOfItsNameBeginsAnew) {
  probe_->OnTurn(Turn(1, 1));
  const auto second = recent_.Watch("faces", nullptr);  // before the first is closed
  probe_->OnTurn(Turn(1, 1));
  probe_.reset();
  second->OnTurn(Turn(3, 3));
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(recent_.TurnsOf("faces").seconds.back().hits, 3u);
  EXPECT_EQ(recent_.TurnsOf("birds").seconds.size(), kSeconds);
}

TEST_F(RecentActivityTest, CountsCallsAndErrorsByMethodAndPassesThemOn) {
  struct Next final : CallObserver {
    void OnCall(std::string_view, absl::StatusCode, absl::Duration) override { ++calls; }
    void OnRefused(std::string_view, std::string_view) override { ++refused; }
    int calls = 0, refused = 0;
  } next;
  RecentActivity recent(&clock_, &next);
  EXPECT_THAT(recent.Calls(), IsEmpty());
  recent.OnCall("MemoryService/Query", absl::StatusCode::kOk, absl::Milliseconds(1));
  recent.OnCall("MemoryService/Query", absl::StatusCode::kNotFound, absl::Milliseconds(1));
  recent.OnCall("AdminService/Status", absl::StatusCode::kOk, absl::Milliseconds(1));
  recent.OnRefused("faces", "BAD_SHAPE");
  clock_.Advance(absl::Seconds(1));
  const std::vector<CallHistory> calls = recent.Calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[1].method, "MemoryService/Query");
  EXPECT_EQ(calls[1].seconds.back().calls, 2u);
  EXPECT_EQ(calls[1].seconds.back().errors, 1u);
  EXPECT_EQ(next.calls, 3);
  EXPECT_EQ(next.refused, 1);
}

}  // namespace
}  // namespace evoke
