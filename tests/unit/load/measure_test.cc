#include "client/load/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/load/driver_fixture.h"

namespace evoke::load {
namespace {

// A server that works on one call at a time, in virtual time: only waiting lets it pass.
class QueueServer final : public Clock {
 public:
  explicit QueueServer(DriverFixture* fixture) : f_(*fixture) {}
  absl::Time Now() override { return f_.clock.Now(); }
  void Sleep(absl::Duration duration) override {
    const absl::Time end = Now() + duration;
    while (Now() < end) {
      f_.clock.Sleep(absl::Milliseconds(1));
      f_.driver->Poll();
      if (f_.target.held.empty()) worked_ = absl::ZeroDuration();
      for (worked_ += absl::Milliseconds(1); worked_ >= service_time && !f_.target.held.empty();) {
        worked_ -= service_time;
        f_.target.Answer();
        if (on_answer) on_answer();
      }
    }
  }

  absl::Duration service_time = absl::Milliseconds(5);
  std::function<void()> on_answer;

 private:
  DriverFixture& f_;
  absl::Duration worked_;
};

class Watcher final : public MeasurementObserver {
 public:
  void OnTick(const Measurements&, absl::Duration, const Driver::State&) override { ++ticks; }
  void OnWindow(int number, const WindowSummary&, const Measurements&, const Driver::State&) override {
    windows = number;
  }
  int ticks = 0;
  int windows = 0;
};

class MeasurerTest : public ::testing::Test {
 protected:
  Measurer Make(bool until_finished = false) {
    return Measurer(
        {.measurement = {.warmup = absl::Seconds(1), .window = absl::Seconds(1), .max_windows = 8},
         .until_finished = until_finished,
         .drain = absl::Seconds(20)},
        f_->driver.get(), &server_, &interrupted_, &watcher_);
  }
  static Arrivals::Options Constant(double rate) { return {.kind = ArrivalKind::kConstant, .rate = rate}; }

  std::unique_ptr<DriverFixture> f_ =
      std::make_unique<DriverFixture>(DriverSetup{.options = {.in_flight = 100}, .mix = Mix({1, 0, 0})});
  QueueServer server_{f_.get()};
  std::atomic<bool> interrupted_{false};
  Watcher watcher_;
};

TEST_F(MeasurerTest, EndsWhenTheLastWindowsAgree) {
  const MeasuredRun run = Make().Measure(Constant(100));
  EXPECT_TRUE(run.stable);
  EXPECT_EQ(run.windows.size(), 3u);
  EXPECT_EQ(run.counted_windows, 3);
  EXPECT_EQ(run.length, absl::Seconds(3));
  EXPECT_NEAR(run.calls_per_second(), 100, 1);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(run.seen.AllLatencies().Percentile(99)), 5, 2);
  EXPECT_EQ(watcher_.windows, 3);
  EXPECT_GT(watcher_.ticks, 3);
  EXPECT_TRUE(run.Meets({{.percentile = 99, .latency = absl::Milliseconds(10)}}));
  EXPECT_FALSE(run.Meets({{.percentile = 99, .latency = absl::Milliseconds(10)},
                          {.percentile = 50, .latency = absl::Milliseconds(1)}}));
  EXPECT_TRUE(f_->driver->idle());
}

TEST_F(MeasurerTest, AnOverloadedServerIsNeverStableAndCountsItsLastWindows) {
  const MeasuredRun run = Make().Measure(Constant(300));  // it can do 200
  EXPECT_FALSE(run.stable);
  EXPECT_EQ(run.windows.size(), 8u);
  EXPECT_EQ(run.counted_windows, 3);
  EXPECT_NEAR(run.calls_per_second(), 200, 2);
  EXPECT_GT(run.seen.AllLatencies().Percentile(50), absl::Seconds(1))
      << "a third of the calls more each second";
  EXPECT_GT(run.windows.back().behind, run.windows.front().behind);
}

TEST_F(MeasurerTest, TwoWindowsBeyondABoundEndIt) {
  const MeasuredRun run =
      Make().Measure(Constant(300), {{.percentile = 50, .latency = absl::Milliseconds(20)}});
  EXPECT_EQ(run.windows.size(), 2u);
  EXPECT_FALSE(run.Meets({{.percentile = 50, .latency = absl::Milliseconds(20)}}));
}

TEST_F(MeasurerTest, WhatIsSeenInTheWarmUpDoesNotCount) {
  f_ = std::make_unique<DriverFixture>(DriverSetup{.mix = Mix({1, 0, 0})});
  QueueServer server(f_.get());
  server.service_time = absl::Milliseconds(500);
  const absl::Time warm = server.Now() + absl::Seconds(1);
  server.on_answer = [&] {
    if (server.Now() >= warm) server.service_time = absl::Milliseconds(1);
  };
  Measurer measurer(
      {.measurement = {.warmup = absl::Seconds(1), .window = absl::Seconds(1)}, .drain = absl::Seconds(20)},
      f_->driver.get(), &server, &interrupted_, &watcher_);
  const MeasuredRun run = measurer.Measure(std::nullopt);
  EXPECT_EQ(run.windows.size(), 3u);
  EXPECT_LT(run.seen.AllLatencies().Max(), absl::Milliseconds(400));
}

TEST_F(MeasurerTest, AnInterruptEndsTheWindowAndItIsReported) {
  int answers = 0;
  server_.on_answer = [&] {
    if (++answers == 300) interrupted_ = true;  // 1.5 s in: half of the first window
  };
  const MeasuredRun run = Make().Measure(std::nullopt);
  EXPECT_TRUE(run.interrupted);
  ASSERT_EQ(run.windows.size(), 1u);
  EXPECT_NEAR(absl::ToDoubleSeconds(run.length), 0.5, 0.06);
  EXPECT_GT(run.seen.calls(), 90u);
  EXPECT_TRUE(f_->driver->idle());
}

TEST_F(MeasurerTest, ACountOfCallsIsMeasuredToTheLast) {
  f_ = std::make_unique<DriverFixture>(DriverSetup{.options = {.in_flight = 7, .calls = 1234}});
  QueueServer server(f_.get());
  Measurer measurer(
      {.measurement = {.window = absl::Seconds(1)}, .until_finished = true, .drain = absl::Seconds(20)},
      f_->driver.get(), &server, &interrupted_, &watcher_);
  const MeasuredRun run = measurer.Measure(std::nullopt);
  EXPECT_EQ(run.seen.calls(), 1234u);
  EXPECT_EQ(run.seen.rows(), 2468u);
  EXPECT_EQ(run.windows.size(), 7u);  // 1,234 x 5 ms
  EXPECT_EQ(run.counted_windows, 7);
  EXPECT_EQ(f_->End().steps_acknowledged, 2468u);
}

TEST_F(MeasurerTest, SaysWhyTheServersTimeIsNotKnown) {
  EXPECT_EQ(Make().Measure(Constant(100)).server_time.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace evoke::load
