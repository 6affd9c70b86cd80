// What decides when a run is over: histogram, stability and the search.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "client/load/latency_histogram.h"
#include "client/load/rate_search.h"
#include "client/load/stability.h"

namespace evoke::load {
namespace {

TEST(LatencyHistogramTest, TellsPercentilesToWithinOneIn256) {
  std::mt19937_64 random(1);
  std::vector<int64_t> values;
  LatencyHistogram histogram;
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<int64_t>(std::exp(std::uniform_real_distribution<>(0, 28)(random))));
    histogram.Record(absl::Nanoseconds(values.back()));
  }
  std::sort(values.begin(), values.end());
  for (const double percentile : {0.01, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const int64_t exact = values[static_cast<size_t>(std::ceil(percentile / 100 * 10'000)) - 1];
    const int64_t told = absl::ToInt64Nanoseconds(histogram.Percentile(percentile));
    EXPECT_GE(told, exact) << percentile;
    EXPECT_LE(static_cast<double>(told), static_cast<double>(exact) * (1 + 1.0 / 256)) << percentile;
  }
  EXPECT_EQ(histogram.Percentile(100), absl::Nanoseconds(values.back()));
  EXPECT_EQ(histogram.Max(), absl::Nanoseconds(values.back()));
  EXPECT_EQ(histogram.Min(), absl::Nanoseconds(values.front()));
}

TEST(LatencyHistogramTest, ASumIsAsIfAllHadBeenRecordedThere) {
  LatencyHistogram a, b, both;
  for (int i = 1; i <= 100; ++i) {
    (i % 2 == 0 ? a : b).Record(absl::Microseconds(i));
    both.Record(absl::Microseconds(i));
  }
  a.Add(b);
  a.Add(LatencyHistogram());
  EXPECT_EQ(a.count(), 100u);
  EXPECT_EQ(a.Mean(), both.Mean());
  for (int p = 0; p <= 100; p += 5) EXPECT_EQ(a.Percentile(p), both.Percentile(p)) << p;
}

TEST(LatencyHistogramTest, TakesAnyDuration) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Percentile(50), absl::ZeroDuration());
  histogram.Record(-absl::Seconds(1));
  EXPECT_EQ(histogram.Max(), absl::ZeroDuration());
  histogram.Record(absl::InfiniteDuration());
  EXPECT_GT(histogram.Max(), absl::Minutes(73));
  EXPECT_EQ(histogram.count(), 2u);
}

std::vector<WindowFigures> Windows(std::vector<std::pair<double, double>> rates_and_ms) {
  std::vector<WindowFigures> windows;
  for (const auto& [rate, ms] : rates_and_ms) windows.push_back({rate, absl::Milliseconds(ms)});
  return windows;
}

TEST(StabilityTest, NeedsAsManyWindowsAsAskedFor) {
  EXPECT_FALSE(IsStable(Windows({{100, 5}, {100, 5}}), 3, 0.1));
  EXPECT_TRUE(IsStable(Windows({{100, 5}, {100, 5}, {100, 5}}), 3, 0.1));
}

TEST(StabilityTest, LooksAtTheLastWindowsOnly) {
  EXPECT_TRUE(IsStable(Windows({{1, 500}, {100, 5}, {104, 5.2}, {96, 4.8}}), 3, 0.1));
  EXPECT_FALSE(IsStable(Windows({{100, 5}, {100, 5}, {100, 5}, {200, 5}}), 3, 0.1));
}

TEST(StabilityTest, RateAndLatencyMustBothAgreeWithTheirMean) {
  EXPECT_FALSE(IsStable(Windows({{100, 5}, {100, 5}, {130, 5}}), 3, 0.1));
  EXPECT_FALSE(IsStable(Windows({{100, 5}, {100, 5}, {100, 6.5}}), 3, 0.1));
  EXPECT_TRUE(IsStable(Windows({{100, 5}, {100, 5}, {100, 6.5}}), 3, 0.2));
}

TEST(StabilityTest, SilenceIsNotStable) {
  EXPECT_FALSE(IsStable(Windows({{0, 0}, {0, 0}, {0, 0}}), 3, 0.1));
}

// Searches against a server whose calls take longer as it gets busier: mean 1 / (capacity - rate), as of a
// queue.
struct Searched {
  Searched(RateSearch::Options options, double capacity, double bound_seconds) : search(options) {
    for (std::optional<double> rate; (rate = search.Next()).has_value();) {
      tried.push_back(*rate);
      search.Tell(*rate < capacity && 1 / (capacity - *rate) <= bound_seconds);
      if (tried.size() > 100) break;
    }
  }
  RateSearch search;
  std::vector<double> tried;
};

TEST(RateSearchTest, FindsTheHighestRateWithinTheBoundFromBelowAndFromAbove) {
  const double limit = 1000 - 1 / 0.005;  // 800
  for (const double start : {1.0, 100.0, 790.0, 801.0, 50'000.0}) {
    const Searched searched({.start = start, .precision = 0.02}, 1000, 0.005);
    ASSERT_TRUE(searched.search.best().has_value()) << start;
    EXPECT_LE(*searched.search.best(), limit) << start;
    EXPECT_GE(*searched.search.best(), limit / 1.02 - 1e-9) << start;
    EXPECT_GT(*searched.search.failed(), limit) << start;
    EXPECT_LE(searched.tried.size(), 18u) << start;
  }
}

TEST(RateSearchTest, StopsAtTheHighestRateThatMayBeTried) {
  const Searched searched({.start = 100, .highest = 300}, 1000, 1);
  EXPECT_EQ(searched.tried, (std::vector<double>{100, 200, 300}));
  EXPECT_EQ(searched.search.best(), 300);
  EXPECT_FALSE(searched.search.failed().has_value());
}

TEST(RateSearchTest, GivesUpAtTheLowest) {
  const Searched searched({.start = 8, .lowest = 1}, 1000, 1e-6);
  EXPECT_EQ(searched.tried, (std::vector<double>{8, 4, 2, 1}));
  EXPECT_FALSE(searched.search.best().has_value());
}

}  // namespace
}  // namespace evoke::load
