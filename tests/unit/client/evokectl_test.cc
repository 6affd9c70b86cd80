#include "client/cli/evokectl.h"

#include <sstream>

#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace evoke::cli {
namespace {

using client::FakeServer;
using client::ManualClock;
using client::ServingStatus;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class EvokectlTest : public testing::Test {
 protected:
  int Run(std::vector<std::string> args, bool interactive = false, const std::string& typed = "") {
    args.insert(args.begin(), {"--address", server_.address()});
    return RunAnywhere(args, interactive, typed);
  }
  int RunAnywhere(const std::vector<std::string>& args, bool interactive = false,
                  const std::string& typed = "") {
    std::istringstream in(typed);
    std::ostringstream out, err;
    const int code =
        RunEvokectl(args, {.in = in, .out = out, .err = err, .interactive = interactive, .clock = clock_});
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::string out_, err_;
};

TEST_F(EvokectlTest, HelpIsNoError) {
  EXPECT_EQ(RunAnywhere({"--help"}), kExitOk);
  EXPECT_THAT(out_, HasSubstr("memory"));
  EXPECT_EQ(RunAnywhere({"memory", "create", "--help"}), kExitOk);
  for (const char* flag : {"--key-dim", "--capacity", "--seed", "--write-rule", "--choose-k", "--margin",
                           "--inverse-temperature", "--age-noise", "--batch", "--merge-on-miss",
                           "--fold-misses", "--payload-history", "--partitions", "--durability"}) {
    EXPECT_THAT(out_, HasSubstr(flag));
  }
}

TEST_F(EvokectlTest, UsageErrorsSendNothingAndExitWithTwo) {
  EXPECT_EQ(Run({}), kExitUsage);
  EXPECT_EQ(Run({"dance"}), kExitUsage);
  EXPECT_EQ(Run({"memory"}), kExitUsage);
  EXPECT_EQ(Run({"memory", "create", "faces"}), kExitUsage);
  EXPECT_EQ(Run({"memory", "create", "faces", "--key-dim", "x", "--capacity", "1"}), kExitUsage);
  EXPECT_EQ(Run({"status", "--deadline", "soon"}), kExitUsage);
  EXPECT_EQ(Run({"status", "-o", "xml"}), kExitUsage);
  EXPECT_EQ(RunAnywhere({"status", "--address", "nowhere"}), kExitUsage);
  EXPECT_THAT(err_, HasSubstr("\"nowhere\""));
  EXPECT_EQ(Run({"memory", "delete", "faces", "--yes", "--uid", "12"}), kExitUsage);
}

TEST_F(EvokectlTest, CreateSendsEveryFieldOfTheSpec) {
  ASSERT_EQ(Run({"memory",
                 "create",
                 "faces",
                 "--key-dim",
                 "3",
                 "--capacity",
                 "64",
                 "--seed",
                 "18446744073709551615",
                 "--write-rule",
                 "rare_events",
                 "--choose-k",
                 "8",
                 "--margin",
                 "0.1",
                 "--inverse-temperature",
                 "39.36",
                 "--age-noise",
                 "0",
                 "--batch",
                 "sequential",
                 "--merge-on-miss",
                 "-0.5",
                 "--fold-misses",
                 "0",
                 "--payload-history",
                 "2",
                 "--partitions",
                 "16",
                 "--durability",
                 "WAL",
                 "-o",
                 "json"}),
            kExitOk)
      << err_;
  const json reply = json::parse(out_);
  EXPECT_EQ(reply["created"], true);
  EXPECT_EQ(reply["memory"], "faces");
  EXPECT_EQ(reply["spec"], json::parse(R"({"key_dim": 3, "capacity": 64, "seed": 18446744073709551615,
      "write_rule": "RARE_EVENTS", "choose_k": 8, "margin": 0.1, "inverse_temperature": 39.36, "age_noise": 0,
      "batch": "SEQUENTIAL", "merge_on_miss": -0.5, "fold_misses": 0.0, "payload_history": 2, "partitions": 16,
      "durability": "WAL"})"));
}

TEST_F(EvokectlTest, CreateLeavesWhatWasNotGivenToTheServer) {
  ASSERT_EQ(Run({"memory", "create", "faces", "--key-dim", "3", "--capacity", "64", "-o", "json"}), kExitOk);
  const json spec = json::parse(out_)["spec"];
  EXPECT_EQ(spec["age_noise"], nullptr);
  EXPECT_EQ(spec["durability"], "UNSPECIFIED");
}

TEST_F(EvokectlTest, CreateOfAnExistingMemoryFailsUnlessThatIsFine) {
  server_.AddMemory("faces", 3);
  EXPECT_EQ(Run({"memory", "create", "faces", "--key-dim", "3", "--capacity", "64"}), kExitFailure);
  EXPECT_EQ(Run({"memory", "create", "faces", "--key-dim", "3", "--capacity", "64", "--if-not-exists"}),
            kExitOk);
}

TEST_F(EvokectlTest, PlanShowsWhatAMemoryWouldTakeAndFailsWhenItDoesNotFit) {
  ASSERT_EQ(Run({"plan", "--key-dim", "10", "--capacity", "100", "-o", "json"}), kExitOk) << err_;
  const json plan = json::parse(out_);
  EXPECT_EQ(plan["ram_bytes"], 1000);
  EXPECT_EQ(plan["fits"], true);
  EXPECT_EQ(plan["spec"]["capacity"], 100);
  EXPECT_EQ(Run({"plan", "--key-dim", "10", "--capacity", "101"}), kExitFailure);
  EXPECT_THAT(out_, HasSubstr("ram_bytes"));
  ASSERT_EQ(Run({"memory", "list", "-o", "json"}), kExitOk);
  EXPECT_THAT(json::parse(out_)["memories"], SizeIs(0));
}

TEST_F(EvokectlTest, ListIsATableOrJson) {
  server_.AddMemory("faces", 3);
  server_.AddMemory("a", 3);
  ASSERT_EQ(Run({"memory", "list"}), kExitOk);
  EXPECT_THAT(out_, testing::StartsWith("NAME   STATE    KEY_DIM"));
  EXPECT_THAT(out_, HasSubstr("\nfaces  SERVING  3 "));
  ASSERT_EQ(Run({"-o", "json", "memory", "list"}), kExitOk);
  EXPECT_THAT(json::parse(out_)["memories"], SizeIs(2));
}

TEST_F(EvokectlTest, DescribeStatusAndHashShowWhatTheServerSays) {
  server_.AddMemory("faces", 3);
  ASSERT_EQ(Run({"memory", "describe", "faces"}), kExitOk);
  EXPECT_THAT(out_, HasSubstr("spec.key_dim"));
  ASSERT_EQ(Run({"status"}), kExitOk);
  EXPECT_THAT(out_, HasSubstr("limits.max_rows"));
  EXPECT_THAT(out_, HasSubstr("faces"));
  ASSERT_EQ(Run({"hash", "faces", "--output", "json"}), kExitOk);
  EXPECT_EQ(json::parse(out_)["state_hash"], std::string(32, '0'));
  EXPECT_EQ(json::parse(out_)["step"], 0);
}

TEST_F(EvokectlTest, AnErrorNamesCodeReasonAndMetadata) {
  EXPECT_EQ(Run({"memory", "describe", "faces"}), kExitFailure);
  EXPECT_THAT(err_, HasSubstr("NOT_FOUND / MEMORY_NOT_FOUND"));
  EXPECT_THAT(out_, IsEmpty());
  server_.Fail(
      "Status",
      {{.code = absl::StatusCode::kInvalidArgument, .reason = "BAD_ARGUMENT", .metadata = {{"field", "x"}}}});
  EXPECT_EQ(Run({"status", "-o", "json"}), kExitFailure);
  const json error = json::parse(err_)["error"];
  EXPECT_EQ(error["reason"], "BAD_ARGUMENT");
  EXPECT_EQ(error["metadata"]["field"], "x");
}

TEST_F(EvokectlTest, ClearAndDeleteWithoutATerminalNeedYes) {
  server_.AddMemory("faces", 3);
  EXPECT_EQ(Run({"memory", "clear", "faces"}, false, "faces\n"), kExitUsage);
  EXPECT_EQ(Run({"memory", "delete", "faces"}, false, "faces\n"), kExitUsage);
  EXPECT_THAT(server_.calls("ClearMemory"), IsEmpty());
  EXPECT_THAT(server_.calls("DeleteMemory"), IsEmpty());
  EXPECT_EQ(Run({"memory", "clear", "faces", "--yes", "-o", "json"}), kExitOk);
  EXPECT_EQ(json::parse(out_)["epoch"], 2);
  EXPECT_EQ(Run({"memory", "delete", "faces", "-y"}), kExitOk);
  EXPECT_THAT(server_.calls("DeleteMemory"), SizeIs(1));
}

TEST_F(EvokectlTest, OnATerminalTheNameMustBeTyped) {
  server_.AddMemory("faces", 3);
  EXPECT_EQ(Run({"memory", "delete", "faces"}, true, "yes\n"), kExitUsage);
  EXPECT_THAT(server_.calls("DeleteMemory"), IsEmpty());
  EXPECT_EQ(Run({"memory", "delete", "faces"}, true, "faces\n"), kExitOk);
  EXPECT_THAT(server_.calls("DeleteMemory"), SizeIs(1));
}

TEST_F(EvokectlTest, HealthTellsByItsExitCode) {
  EXPECT_EQ(Run({"health"}), kExitOk);
  server_.SetServing(ServingStatus::kNotServing);
  EXPECT_EQ(Run({"health"}), kExitFailure);
  EXPECT_THAT(out_, HasSubstr("NOT_SERVING"));
  EXPECT_EQ(Run({"health", "--service", "evoke.v1.Nothing"}), kExitFailure);
  EXPECT_EQ(RunAnywhere({"health", "--address", "127.0.0.1:1"}), kExitFailure);
  EXPECT_THAT(clock_->sleeps(), IsEmpty());  // a probe does not wait
}

TEST_F(EvokectlTest, HealthWaitEndsWhenTheServerIsServing) {
  server_.SetServingSequence(
      {ServingStatus::kNotServing, ServingStatus::kNotServing, ServingStatus::kServing});
  EXPECT_EQ(Run({"health", "--wait"}), kExitOk);
  EXPECT_THAT(clock_->sleeps(), SizeIs(2));
}

TEST_F(EvokectlTest, HealthWaitGivesUpAfterItsTimeout) {
  server_.SetServing(ServingStatus::kNotServing);
  const absl::Time start = clock_->Now();
  EXPECT_EQ(Run({"health", "--wait", "--timeout", "3s"}), kExitFailure);
  EXPECT_LE(clock_->Now() - start, absl::Seconds(3));
  EXPECT_GT(clock_->Now() - start, absl::Seconds(2));
  EXPECT_EQ(RunAnywhere({"health", "--address", "127.0.0.1:1", "--wait", "--timeout", "3s"}), kExitFailure);
}

TEST_F(EvokectlTest, AddressComesFromTheEnvironmentWhenNoFlagIsGiven) {
  setenv("EVOKE_ADDRESS", server_.address().c_str(), 1);
  EXPECT_EQ(RunAnywhere({"health"}), kExitOk);
  EXPECT_EQ(RunAnywhere({"health", "--address", "127.0.0.1:1"}), kExitFailure);
  unsetenv("EVOKE_ADDRESS");
}

TEST_F(EvokectlTest, SeveralAddressesAreTriedInTurn) {
  EXPECT_EQ(RunAnywhere({"status", "--address", "127.0.0.1:1," + server_.address()}), kExitOk);
}

}  // namespace
}  // namespace evoke::cli
