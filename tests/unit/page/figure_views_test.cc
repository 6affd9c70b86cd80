#include "server/page/figure_views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/page/statusz.h"

namespace evoke {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(AgeHistogramTest, CountsEveryAgeOnceInBinsThatMeet) {
  std::vector<uint64_t> ages = {0, 0, 1, 5, 31, 32, 63, 64, 1000};
  const Json json = AgeHistogram(ages);
  uint64_t all = 0, next = 0;
  for (const Json& bin : json["bins"]) {
    EXPECT_EQ(bin["from"], next);
    next = bin["to"].get<uint64_t>() + 1;
    for (const uint64_t age : ages) all += age >= bin["from"] && age <= bin["to"];
  }
  EXPECT_EQ(all, ages.size());
  EXPECT_GT(next, 1000u);
  EXPECT_LE(json["bins"].size(), 33u);
  EXPECT_EQ(json["quantiles"]["0.5"], 31);
  EXPECT_EQ(json["quantiles"]["1"], 1000);
  EXPECT_EQ(json["sampled"], 9);
}

TEST(AgeHistogramTest, AnEmptyMemoryHasNoBinsAndAgesOfZeroHaveOne) {
  EXPECT_EQ(AgeHistogram({})["bins"].size(), 0u);
  EXPECT_EQ(AgeHistogram({0, 0})["bins"], Json::parse(R"([{"from": 0, "to": 0, "count": 2}])"));
}

TEST(AgeHistogramTest, TheLargestAgesDoNotOverflow) {
  const Json json = AgeHistogram({1, ~uint64_t{0} - 1});
  uint64_t all = 0;
  for (const Json& bin : json["bins"]) all += bin["count"].get<uint64_t>();
  EXPECT_EQ(all, 2u);
}

TEST(FigureViewsTest, ValuesTravelAsTextBecauseNumbersOfBrowsersAreDoubles) {
  TurnHistory history{.seconds = std::vector<SecondOfTurns>(120)};
  history.evictions.push_back({{.slot = 3, .old_value = -9007199254740993, .new_value = 9007199254740993, .age = 5}, absl::UnixEpoch()});
  const Json json = ToDetails({.name = "faces"}, history, absl::UnixEpoch() + absl::Seconds(2));
  EXPECT_EQ(json["evictions"][0]["old_value"], "-9007199254740993");
  EXPECT_EQ(json["evictions"][0]["new_value"], "9007199254740993");
  EXPECT_EQ(json["evictions"][0]["seconds_ago"], 2.0);
}

TEST(FigureViewsTest, ALoadingMemoryTellsHowFarItIs) {
  const TurnHistory none{.seconds = std::vector<SecondOfTurns>(120)};
  const Json json = ToSummary({.name = "faces", .state = MemoryState::kLoading, .slots_loaded = 3, .slots_to_load = 9}, none);
  EXPECT_EQ(json["state"], "loading");
  EXPECT_EQ(json["slots_loaded"], 3);
  EXPECT_EQ(json["slots_to_load"], 9);
}

TEST(StatuszTest, TellsWhatRunsAndWhatIsWrong) {
  const ProcessFacts facts{.version = "1.2", .commit = "abc", .instance = "00ff", .simd = "avx2",
                           .config_digest = "d1ge57", .process = 17, .started = absl::UnixEpoch()};
  MemoryFigures faces{.name = "faces", .state = MemoryState::kFailed, .why = absl::DataLossError("a flipped bit")};
  faces.turn = Turn(41);
  const std::string text =
      StatuszText({.facts = facts,
                   .state = "serving",
                   .memories = {faces},
                   .histories = {{.seconds = std::vector<SecondOfTurns>(120)}},
                   .alarms = {{.name = "corrupt", .memory = "faces", .message = "row 3", .since = absl::UnixEpoch()}},
                   .now = absl::UnixEpoch() + absl::Seconds(3661)});
  EXPECT_THAT(text, AllOf(HasSubstr("evoked 1.2 (abc), process 17, serving"), HasSubstr("1h1m1s, since 1970-01-01T00:00:00Z"),
                          HasSubstr("avx2"), HasSubstr("d1ge57"), HasSubstr("alarms: 1\n  corrupt of memory faces, for 1h1m1s: row 3"),
                          HasSubstr("failed"), HasSubstr(" 41 "), HasSubstr("a flipped bit")));
}

}  // namespace
}  // namespace evoke
