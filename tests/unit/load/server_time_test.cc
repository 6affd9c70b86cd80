#include "client/load/server_time.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_replace.h"
#include "client/load/prometheus_text.h"

namespace evoke::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(ScrapeTest, ReadsNamesLabelsAndNumbers) {
  const absl::StatusOr<Scrape> scrape = Scrape::Parse(
      "# HELP calls_total \"Calls\"\n"
      "# TYPE calls_total counter\n"
      "calls_total{method=\"Query\",code=\"OK\"} 12\n"
      "calls_total{method=\"Update\",code=\"OK\",} 3 1700000000000\n"
      "calls_total{method=\"Update\",code=\"a \\\"b\\\" \\\\ } \\n\"} 0.5\n"
      "\n"
      "bare 1e-3\r\n"
      "limit_bucket{le=\"+Inf\"} +Inf\n"
      "nothing NaN\n");
  ASSERT_TRUE(scrape.ok()) << scrape.status();
  EXPECT_EQ(scrape->Sum("calls_total"), 15.5);
  EXPECT_EQ(scrape->Sum("calls_total", {{"method", "Update"}}), 3.5);
  EXPECT_EQ(scrape->Sum("calls_total", {{"method", "Update"}, {"code", "OK"}}), 3);
  EXPECT_EQ(scrape->Sum("calls_total", {{"code", "a \"b\" \\ } \n"}}), 0.5);
  EXPECT_EQ(scrape->Sum("calls_total", {{"other", "x"}}), 0);
  EXPECT_EQ(scrape->Sum("bare"), 1e-3);
  EXPECT_TRUE(std::isinf(scrape->Sum("limit_bucket")));
  EXPECT_TRUE(std::isnan(scrape->Sum("nothing")));
  EXPECT_FALSE(scrape->Has("calls"));
  EXPECT_THAT(scrape->ValuesOf("calls_total", "method"), ElementsAre("Query", "Update"));
}

TEST(ScrapeTest, RefusesWhatIsNoSampleAndShowsTheLine) {
  for (const char* text :
       {"<html>", "name", "name{", "name{a=\"b} 1", "name{a=b} 1", "name{a=\"b\"} x", "a\nname x"}) {
    EXPECT_EQ(Scrape::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(Scrape::Parse("fine 1\nbad one").status().message()), HasSubstr("\"bad one\""));
}

constexpr char kBefore[] = R"(process_start_time_seconds 1000
process_cpu_seconds_total 10
evoke_turn_rows_count{memory="faces"} 100
evoke_turn_rows_sum{memory="faces"} 1000
evoke_turn_rows_count{memory="other"} 7
evoke_request_phase_seconds_count{phase="commit"} 100
evoke_request_phase_seconds_sum{phase="commit"} 1
evoke_request_phase_seconds_bucket{phase="commit",le="0.01"} 100
evoke_request_phase_seconds_bucket{phase="commit",le="0.02"} 100
evoke_request_phase_seconds_bucket{phase="commit",le="+Inf"} 100
evoke_request_phase_seconds_count{phase="propose"} 100
evoke_request_phase_seconds_sum{phase="propose"} 2
evoke_request_phase_seconds_count{phase="more"} 3
evoke_request_phase_seconds_sum{phase="more"} 0.1
evoke_commit_seconds_count{memory="faces"} 100
evoke_commit_seconds_sum{memory="faces"} 1
evoke_rejected_total{memory="faces",reason="MAILBOX_FULL"} 4
evoke_rejected_total{memory="faces",reason="BAD_NORM"} 1
)";
// 50 turns later; 40 of their commits took up to 10 ms, 10 up to 20 ms.
constexpr char kAfter[] = R"(process_start_time_seconds 1000
process_cpu_seconds_total 13
evoke_turn_rows_count{memory="faces"} 150
evoke_turn_rows_sum{memory="faces"} 4200
evoke_turn_rows_count{memory="other"} 700
evoke_request_phase_seconds_count{phase="commit"} 150
evoke_request_phase_seconds_sum{phase="commit"} 1.5
evoke_request_phase_seconds_bucket{phase="commit",le="0.01"} 140
evoke_request_phase_seconds_bucket{phase="commit",le="0.02"} 150
evoke_request_phase_seconds_bucket{phase="commit",le="+Inf"} 150
evoke_request_phase_seconds_count{phase="propose"} 150
evoke_request_phase_seconds_sum{phase="propose"} 6
evoke_request_phase_seconds_count{phase="more"} 3
evoke_request_phase_seconds_sum{phase="more"} 0.1
evoke_commit_seconds_count{memory="faces"} 150
evoke_commit_seconds_sum{memory="faces"} 1.5
evoke_retry_duplicates_total{memory="faces"} 2
evoke_rejected_total{memory="faces",reason="MAILBOX_FULL"} 9
evoke_rejected_total{memory="faces",reason="BAD_NORM"} 1
)";

TEST(ServerTimeTest, TellsWhatCameInBetween) {
  const absl::StatusOr<ServerTime> time =
      TimeBetween(*Scrape::Parse(kBefore), *Scrape::Parse(kAfter), "faces");
  ASSERT_TRUE(time.ok()) << time.status();
  EXPECT_EQ(time->turns, 50);
  EXPECT_EQ(time->rows, 3200);
  EXPECT_EQ(time->commits, 50);
  EXPECT_EQ(time->cpu_seconds, 3);
  EXPECT_EQ(time->retry_duplicates, 2);
  EXPECT_THAT(time->rejected, ElementsAre(Pair("MAILBOX_FULL", 5)));
  ASSERT_EQ(time->phases.size(), 2u) << "more was not needed in between";
  EXPECT_EQ(time->phases[0].name, "propose");  // in the order of a turn
  EXPECT_EQ(time->phases[0].seconds, 4);
  EXPECT_EQ(time->phases[1].name, "commit");
  EXPECT_EQ(time->phases[1].count, 50);
  EXPECT_EQ(time->phases[1].seconds, 0.5);
  EXPECT_NEAR(time->phases[1].p50, 0.01 * 25 / 40, 1e-12);
  EXPECT_NEAR(time->phases[1].p99, 0.01 + 0.01 * 9.5 / 10, 1e-12);
  ASSERT_EQ(time->storage.size(), 1u);
  EXPECT_EQ(time->storage[0].name, "commit");
}

TEST(ServerTimeTest, AMemoryBeyondTheLabelsIsTheOthers) {
  const auto renamed = [](const char* text) {
    return *Scrape::Parse(absl::StrReplaceAll(text, {{"\"faces\"", "\"_other\""}}));
  };
  const absl::StatusOr<ServerTime> time = TimeBetween(renamed(kBefore), renamed(kAfter), "faces");
  ASSERT_TRUE(time.ok()) << time.status();
  EXPECT_EQ(time->turns, 50);
}

TEST(ServerTimeTest, ARestartInBetweenIsNotTakenForTime) {
  const std::string restarted = absl::StrReplaceAll(kAfter, {{"seconds 1000", "seconds 1007"}});
  EXPECT_EQ(TimeBetween(*Scrape::Parse(kBefore), *Scrape::Parse(restarted), "faces").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace evoke::load
