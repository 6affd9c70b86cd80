#include "client/load/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/load/evoke_load.h"

namespace evoke::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(FlagsTest, WithoutAnyItIsAClosedLoopOfOneCaller) {
  const CommandLine line = ParseCommandLine({});
  ASSERT_TRUE(line.run) << line.message;
  EXPECT_FALSE(line.options.load.rate.has_value());
  EXPECT_EQ(line.options.load.connections * line.options.load.in_flight, 1);
  EXPECT_EQ(line.options.workload.mix.Share(Method::kTrainStep), 1);
  EXPECT_FALSE(line.options.search.has_value());
  EXPECT_FALSE(line.options.client.tls.has_value());
}

TEST(FlagsTest, ReadsASearch) {
  const CommandLine line =
      ParseCommandLine({"-a", "127.0.0.1:1,unix:/tmp/s", "--search", "--p99", "5ms", "--p99.9=1s", "--rate",
                        "50", "--mix", "query=3,update", "--arrivals", "constant"});
  ASSERT_TRUE(line.run) << line.message;
  const Options& options = line.options;
  EXPECT_THAT(options.client.addresses, ElementsAre("127.0.0.1:1", "unix:/tmp/s"));
  ASSERT_TRUE(options.search.has_value());
  ASSERT_EQ(options.search->bounds.size(), 2u);
  EXPECT_EQ(options.search->bounds[0].percentile, 99);
  EXPECT_EQ(options.search->bounds[0].latency, absl::Milliseconds(5));
  EXPECT_EQ(options.search->bounds[1].percentile, 99.9);
  EXPECT_EQ(options.measurement.percentile, 99) << "windows agree in what is searched for";
  EXPECT_EQ(options.load.rate, 50);
  EXPECT_EQ(options.load.arrivals, ArrivalKind::kConstant);
  EXPECT_EQ(options.load.in_flight, 64);
  EXPECT_EQ(options.workload.mix.Share(Method::kQuery), 0.75);
}

TEST(FlagsTest, ReadsAMemoryToBeMadeAndFilled) {
  const CommandLine line =
      ParseCommandLine({"--create", "--slots", "4096", "--dim", "64", "--fill", "--durability", "wal",
                        "--rows", "16", "--form", "gradient", "--warmup", "500ms", "-f", "8", "-c", "2"});
  ASSERT_TRUE(line.run) << line.message;
  EXPECT_TRUE(line.options.memory.create);
  EXPECT_EQ(line.options.memory.spec.capacity, 4096u);
  EXPECT_EQ(line.options.memory.spec.key_dim, 64u);
  EXPECT_EQ(line.options.memory.spec.durability, client::Durability::kWal);
  EXPECT_EQ(line.options.memory.fill, 0u) << "all of them";
  EXPECT_EQ(line.options.workload.form, client::ReturnForm::kGradient);
  EXPECT_EQ(line.options.measurement.warmup, absl::Milliseconds(500));
  EXPECT_EQ(line.options.load.in_flight, 8);
  EXPECT_EQ(line.options.load.connections, 2);
}

TEST(FlagsTest, RefusesWhatCannotBeMeant) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--create"}, "--slots and --dim"},
      {{"--slots", "5"}, "--create is missing"},
      {{"--search"}, "needs a bound"},
      {{"--p99", "5ms"}, "bound is of a --search"},
      {{"--search", "--p99", "5"}, "no duration"},
      {{"--search", "--p99", "5ms", "--calls", "10"}, "--calls"},
      {{"--mix", "read"}, "\"read\""},
      {{"--rate", "0"}, "--rate"},
      {{"--rows", "0"}, "--rows"},
      {{"--zipf", "1"}, "--zipf"},
      {{"--warmup", "soon"}, "\"soon\""},
      {{"--verify"}, "fresh memory"},
      {{"--verify", "--create", "--slots", "9", "--dim", "4", "-f", "2"}, "one call at a time"},
      {{"--bogus"}, "--bogus"},
  };
  for (const auto& [args, why] : cases) {
    const CommandLine line = ParseCommandLine(args);
    EXPECT_FALSE(line.run) << why;
    EXPECT_EQ(line.exit_code, kExitUsage) << why;
    EXPECT_THAT(line.message, HasSubstr(why));
  }
}

TEST(FlagsTest, HelpGroupsTheFlagsAndTellsTheExitCodes) {
  const CommandLine line = ParseCommandLine({"--help"});
  EXPECT_FALSE(line.run);
  EXPECT_EQ(line.exit_code, kExitOk);
  size_t place = 0;
  for (const char* group :
       {"Server:", "Memory:", "Calls:", "Load:", "Measurement:", "Search:", "Checks and output:"}) {
    const size_t found = line.message.find(group, place);
    ASSERT_NE(found, std::string::npos) << group << " in\n" << line.message;
    place = found;
  }
  EXPECT_THAT(line.message, HasSubstr("Exit code"));
}

}  // namespace
}  // namespace evoke::load
