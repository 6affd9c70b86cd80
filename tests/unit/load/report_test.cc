#include "client/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/load/flags.h"
#include "client/load/report_text.h"

namespace evoke::load {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// 100 train steps of 64 rows in 2 s, 1 to 100 ms.
MeasuredRun SomeRun() {
  MeasuredRun run{.windows = {{.length = absl::Seconds(2), .calls_per_second = 50}},
                  .counted_windows = 1,
                  .stable = true,
                  .length = absl::Seconds(2),
                  .client_cpu_seconds = 0.5};
  MethodMeasurements& steps = run.seen.of(Method::kTrainStep);
  for (int i = 1; i <= 100; ++i) steps.latency.Record(absl::Milliseconds(i));
  steps.rows = 6400;
  run.seen.errors["UNAVAILABLE/LOADING"] = 3;
  run.seen.retries = 3;
  run.seen.outcomes[2] = 6400;
  ServerTime time{.turns = 100, .rows = 6400, .commits = 100, .cpu_seconds = 3};
  time.phases = {{.name = "queue", .count = 100, .seconds = 9},
                 {.name = "propose", .count = 100, .seconds = 3},
                 {.name = "commit", .count = 100, .seconds = 1}};
  run.server_time = time;
  return run;
}

CampaignEnd SomeEnd() {
  CampaignEnd end;
  end.verdict.mutations = 100;
  end.verdict.steps_acknowledged = 6400;
  end.verdict.steps_of_memory = 6400;
  client::StateHashResult state;
  state.state_hash = std::string(32, 'a');
  state.header.step = 6400;
  end.state = state;
  return end;
}

Json SomeReport(const CampaignEnd& end) {
  const CommandLine line = ParseCommandLine({"--rows", "64"});
  Json report = {{"format", kReportFormat},
                 {"machine", ToJson(Machine{.cpu = "Some CPU", .cores = 2})},
                 {"server", ToJson(client::ServerStatus{.version = "0.1.0", .simd = "avx512"})},
                 {"memory", ToJson(client::MemoryDescription{.name = "faces"})},
                 {"options", ToJson(line.options, {.dim = 4})},
                 {"run", ToJson(SomeRun())}};
  report.update(ToJson(end));
  return report;
}

TEST(ReportTest, HasRatesPercentilesAndWhereTimeWent) {
  const Json report = Json::parse(SomeReport(SomeEnd()).dump());
  EXPECT_EQ(report["format"], "evoke-load 1");
  EXPECT_EQ(report["options"]["loop"], "closed");
  EXPECT_EQ(report["options"]["rows"], 64);
  const Json& steps = report["run"]["methods"]["TrainStep"];
  EXPECT_EQ(steps["calls"], 100);
  EXPECT_EQ(steps["calls_per_second"], 50.0);
  EXPECT_EQ(steps["rows_per_second"], 3200.0);
  EXPECT_NEAR(steps["latency_ms"]["p99"].get<double>(), 99, 99.0 / 256);
  EXPECT_EQ(steps["latency_ms"]["max"], 100.0);
  EXPECT_FALSE(report["run"]["methods"].contains("Query")) << "none was made";
  EXPECT_EQ(report["run"]["outcomes"]["HIT"], 6400);
  EXPECT_EQ(report["run"]["client_cpu_cores"], 0.25);
  const Json& time = report["run"]["server_time"];
  EXPECT_EQ(time["turns_per_second"], 50.0);
  EXPECT_EQ(time["rows_per_turn"], 64.0);
  EXPECT_EQ(time["cpu_cores"], 1.5);
  EXPECT_EQ(time["phases"]["propose"]["mean_ms"], 30.0);
  EXPECT_EQ(time["phases"]["propose"]["share"], 0.75) << "of work; waiting is none";
  EXPECT_FALSE(time["phases"]["queue"].contains("share"));
  EXPECT_EQ(report["correctness"]["kept"], true);
  EXPECT_EQ(report["state"]["step"], 6400);
}

TEST(ReportTest, TheTextSaysTheSame) {
  const std::string text = ReportText(SomeReport(SomeEnd()));
  EXPECT_THAT(text,
              AllOf(HasSubstr("Some CPU"), HasSubstr("TrainStep       50.0      3200.0"), HasSubstr("100 ms"),
                    HasSubstr("UNAVAILABLE/LOADING 3"), HasSubstr("propose"), HasSubstr("75.0%"),
                    HasSubstr("correct: 100 mutations of 6400 steps"), HasSubstr(std::string(32, 'a'))));
  EXPECT_THAT(text, Not(HasSubstr("VIOLATED")));
}

TEST(ReportTest, ABrokenPromiseIsShown) {
  CampaignEnd end = SomeEnd();
  end.verdict.violation_count = 30;
  end.verdict.violations = {"steps 1 to 2 were given twice"};
  EXPECT_EQ(ToJson(end)["correctness"]["kept"], false);
  EXPECT_THAT(
      ReportText(SomeReport(end)),
      AllOf(HasSubstr("VIOLATED"), HasSubstr("steps 1 to 2 were given twice"), HasSubstr("and 29 more")));
}

TEST(ReportTest, WithoutAFinalStateItSaysWhy) {
  CampaignEnd end = SomeEnd();
  end.verdict.steps_of_memory.reset();
  end.state = absl::UnavailableError("nobody is there");
  const Json report = SomeReport(end);
  EXPECT_FALSE(report.contains("state"));
  EXPECT_EQ(report["error"]["message"], "nobody is there");
  EXPECT_TRUE(report["correctness"]["steps_of_memory"].is_null());
  EXPECT_THAT(ReportText(report), HasSubstr("not known"));
}

TEST(ReportTest, SaysWhyTheServersTimeIsMissing) {
  MeasuredRun run = SomeRun();
  run.server_time = absl::FailedPreconditionError("the server was restarted");
  EXPECT_EQ(ToJson(run)["server_time"]["missing"], "the server was restarted");
}

TEST(ReportTest, ASearchHasItsProbes) {
  RateSearch search({.start = 100, .highest = 100});
  search.Tell(true);
  MeasuredRun run = SomeRun();
  run.rate = 100;
  const Json json = ToJson(search, {{.met = true, .run = run}},
                           {.bounds = {{.percentile = 99, .latency = absl::Milliseconds(5)}}});
  EXPECT_EQ(json["best_rate"], 100.0);
  EXPECT_TRUE(json["failed_rate"].is_null());
  EXPECT_EQ(json["bounds"][0]["latency_ms"], 5.0);
  EXPECT_EQ(json["probes"][0]["met"], true);
}

}  // namespace
}  // namespace evoke::load
