// evoke-load against a built evoked: what it measures, and that it finds exactly-once to hold whatever
// happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "nlohmann/json.hpp"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::vector<std::string> kSmall = {"--create", "--slots", "2000", "--dim", "16", "--rows", "4"};
const std::vector<std::string> kShort = {"--warmup", "100ms", "--window", "200ms", "--max-windows", "4"};

std::vector<std::string> Argv(const ServerProcess& server, std::vector<std::vector<std::string>> parts) {
  std::vector<std::string> argv = {EVOKE_LOAD_PATH, "-a", server.address()};
  for (const std::vector<std::string>& part : parts) argv.insert(argv.end(), part.begin(), part.end());
  return argv;
}

json Report(const ServerProcess& server, std::vector<std::vector<std::string>> parts, int exit_code = 0) {
  parts.push_back({"--json", "-", "--progress", "never"});
  const Finished run = RunProgram(Argv(server, std::move(parts)));
  EXPECT_EQ(run.exit_code, exit_code) << run.out << run.err;
  return json::parse(run.out, nullptr, /*allow_exceptions=*/false);
}

TEST(LoadProcessTest, ClosedLoopMeasuresAndFindsNothingWrong) {
  ServerProcess server;
  server.Start();
  const std::string metrics = "http://127.0.0.1:" + std::to_string(server.http_port()) + "/metrics";
  const json report = Report(server, {kSmall,
                                      kShort,
                                      {"--fill", "--mix", "query=2,update=1,train_step=1", "-c", "2", "-f",
                                       "2", "--metrics", metrics}});
  EXPECT_EQ(report["format"], "evoke-load 1");
  EXPECT_EQ(report["memory"]["live_slots"], 2000);
  for (const char* method : {"Query", "Update", "TrainStep"}) {
    const json& one = report["run"]["methods"][method];
    EXPECT_GT(one["calls"], 0) << method;
    EXPECT_GT(one["latency_ms"]["p50"], 0) << method;
    EXPECT_LE(one["latency_ms"]["p50"], one["latency_ms"]["p99.9"]) << method;
  }
  const json& time = report["run"]["server_time"];
  ASSERT_FALSE(time.contains("missing")) << time;
  EXPECT_GT(time["turns"], 0);
  EXPECT_GE(time["rows_per_turn"], 1);
  EXPECT_GT(time["phases"]["propose"]["seconds"], 0);
  EXPECT_GT(time["phases"]["commit"]["count"], 0);
  EXPECT_EQ(report["correctness"]["kept"], true) << report["correctness"];
  EXPECT_EQ(report["correctness"]["last_mutations_replayed"], 4);
  EXPECT_EQ(report["correctness"]["steps_acknowledged"], report["correctness"]["steps_of_memory"]);
  const auto hash = server.Connect()->OpenMemory("load")->StateHash();
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(report["state"]["state_hash"], hash->state_hash);
  EXPECT_EQ(report["state"]["step"], hash->header.step);
}

TEST(LoadProcessTest, OpenLoopKeepsItsRate) {
  ServerProcess server;
  server.Start();
  const json report = Report(server, {kSmall, {"--rate", "50", "--arrivals", "constant", "--calls", "40"}});
  EXPECT_EQ(report["options"]["loop"], "open");
  EXPECT_EQ(report["run"]["all"]["calls"], 40);
  EXPECT_LT(report["run"]["all"]["calls_per_second"], 55);  // 39 gaps of 20 ms and the last call
  EXPECT_EQ(report["state"]["step"], 160);
}

TEST(LoadProcessTest, SearchFindsARateAndItsMeasurement) {
  ServerProcess server;
  server.Start();
  const json report = Report(server, {kSmall,
                                      kShort,
                                      {"--mix", "query", "--search", "--p50", "10s", "--rate", "20",
                                       "--max-rate", "40", "--stable", "1"}});
  EXPECT_EQ(report["search"]["best_rate"], 40);
  ASSERT_EQ(report["search"]["probes"].size(), 2u);
  EXPECT_EQ(report["run"]["rate"], 40);
  EXPECT_EQ(report["state"]["step"], 0) << "queries write nothing";
}

TEST(LoadProcessTest, TwoRunsOfOneSeedComeToTheSameState) {
  ServerProcess server;
  server.Start();
  const std::vector<std::string> verify = {"--verify", "--calls", "150", "--mix", "update,train_step,query"};
  const json first = Report(server, {kSmall, verify, {"-m", "first", "--seed", "5", "--fill-to", "500"}});
  EXPECT_EQ(first["verify"]["equal"], true);
  const json second = Report(server, {kSmall, verify, {"-m", "second", "--seed", "5", "--fill-to", "500"}});
  EXPECT_EQ(first["state"]["state_hash"], second["state"]["state_hash"]);
  const json other = Report(server, {kSmall, verify, {"-m", "other", "--seed", "6", "--fill-to", "500"}});
  EXPECT_NE(first["state"]["state_hash"], other["state"]["state_hash"]);
  EXPECT_FALSE(server.Connect()->OpenMemory("first-again").ok()) << "it is removed";
}

TEST(LoadProcessTest, AServerKilledInMidRunHasLostNothingAndAppliedNothingTwice) {
  ServerProcess server;
  server.Start();
  const TestFolder folder;
  ChildProcess load({.argv = Argv(server, {kSmall,
                                           {"-c", "2", "-f", "4", "--mix", "query,update,train_step",
                                            "--window", "200ms", "--max-windows", "1000000", "--tolerance",
                                            "0", "--progress", "never", "--json", folder.File("report")}}),
                     .out = folder.File("out"),
                     .err = folder.File("err")});
  const auto client = server.Connect();
  const auto step = [&]() -> uint64_t {
    const auto description = client->DescribeMemory("load");
    return description.ok() ? description->step : 0;
  };
  for (int round = 0; round < 3; ++round) {
    const uint64_t before = step();
    ASSERT_TRUE(Eventually([&] { return step() > before + 200; })) << ReadWholeFile(folder.File("err"));
    server.Kill();
    server.Start();
  }
  const uint64_t before = step();
  ASSERT_TRUE(Eventually([&] { return step() > before + 200; }));
  load.Signal(SIGINT);
  ASSERT_EQ(load.Wait(), 0) << ReadWholeFile(folder.File("out")) << ReadWholeFile(folder.File("err"));
  const json report = json::parse(ReadWholeFile(folder.File("report")), nullptr, false);
  EXPECT_EQ(report["correctness"]["kept"], true) << report["correctness"];
  EXPECT_EQ(report["correctness"]["mutations_unresolved"], 0);
  EXPECT_EQ(report["correctness"]["last_mutations_replayed"], 8);
  EXPECT_GT(report["correctness"]["steps_acknowledged"], 800);
  EXPECT_EQ(report["correctness"]["steps_acknowledged"], report["correctness"]["steps_of_memory"]);
  EXPECT_EQ(report["run"]["interrupted"], true);
  EXPECT_EQ(report["server"]["restarted"], true);
  EXPECT_THAT(ReadWholeFile(folder.File("out")), HasSubstr("correct: "));
}

TEST(LoadProcessTest, WhatWasMeasuredIsReportedWhenTheServerIsGoneForGood) {
  ServerProcess server;
  server.Start();
  const TestFolder folder;
  ChildProcess load(
      {.argv = Argv(server, {kSmall,
                             {"-f", "3", "-d", "1s", "--window", "100ms", "--warmup", "10ms", "--max-windows",
                              "1000000", "--tolerance", "0", "--json", folder.File("report")}}),
       .err = folder.File("err")});
  ASSERT_TRUE(
      Eventually([&] { return ReadWholeFile(folder.File("err")).find("window 2") != std::string::npos; }));
  server.Kill();
  load.Signal(SIGINT);
  EXPECT_EQ(load.Wait(), 1) << "whether the last mutations were applied, nobody can tell";
  const json report = json::parse(ReadWholeFile(folder.File("report")), nullptr, false);
  EXPECT_GT(report["run"]["all"]["calls"], 0);
  EXPECT_TRUE(report.contains("error"));
  EXPECT_GT(report["correctness"]["mutations_acknowledged"], 0);
  EXPECT_FALSE(report.contains("state"));
}

// Another writer is what the check cannot tell from a server that applies things twice.
TEST(LoadProcessTest, StepsThatNobodyAcknowledgedAreFoundAndSharedAllowsThem) {
  ServerProcess server;
  server.Start();
  const auto run = [&](std::vector<std::string> flags, const std::string& name) {
    const TestFolder folder;
    ChildProcess load(
        {.argv = Argv(server, {kSmall, {"-m", name, "--max-windows", "1000000", "--tolerance", "0"}, flags}),
         .out = folder.File("out")});
    const auto client = server.Connect();
    EXPECT_TRUE(Eventually([&] {
      const auto description = client->DescribeMemory(name);
      return description.ok() && description->step > 20;
    }));
    const std::vector<float> x(16, 1.0f);
    const std::vector<int64_t> values = {-1};
    const auto memory = client->OpenMemory(name);
    EXPECT_TRUE(client::Memory(*memory)
                    .Update({.embeddings = client::MatrixView::Float32(x, 1), .values = values})
                    .ok());
    load.Signal(SIGINT);
    const int exit_code = load.Wait();
    return std::pair(exit_code, ReadWholeFile(folder.File("out")));
  };
  const auto alone = run({}, "alone");
  EXPECT_EQ(alone.first, 3);
  EXPECT_THAT(alone.second, HasSubstr("applied twice, or others write too"));
  EXPECT_EQ(run({"--shared"}, "shared").first, 0);
}

TEST(LoadProcessTest, WhatTheServerWouldRefuseIsToldBeforeAnythingIsSent) {
  ServerProcess server({"--max-rows=8"});
  server.Start();
  const Finished run =
      RunProgram(Argv(server, {{"--create", "--slots", "100", "--dim", "4", "--rows", "9"}}));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("at most 8"));
  EXPECT_FALSE(server.Connect()->OpenMemory("load").ok());
  const Finished absent = RunProgram(Argv(server, {{"-m", "absent"}}));
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, HasSubstr("absent"));
}

}  // namespace
}  // namespace evoke::testing
