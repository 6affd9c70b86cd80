// What is in a memory and what it answers, by the built evokectl; and where a call is found again in the server's log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/integration/evokectl_runs.h"
#include "tests/integration/raw_client.h"

namespace evoke::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using nlohmann::json;

// Debian's interpreter: it is the one that has the package.
constexpr char kPython[] = "/usr/bin/python3";

std::vector<uint64_t> Field(const json& objects, const char* field) {
  std::vector<uint64_t> values;
  for (const json& object : objects) values.push_back(object.at(field).get<uint64_t>());
  return values;
}

class ContentProcessTest : public ::testing::Test {
 protected:
  ContentProcessTest() {
    server_.Start();
    EvokectlJson(server_, {"memory", "create", "faces", "--key-dim", "4", "--capacity", "3000", "--age-noise", "0"});
  }
  json Evokectl(std::vector<std::string> arguments) { return EvokectlJson(server_, std::move(arguments)); }

  const TestFolder folder_;
  ServerProcess server_;
};

TEST_F(ContentProcessTest, WhatIsTaughtOnceIsAnsweredAndSeenInItsSlot) {
  const json taught = Evokectl({"update", "faces", "--keys", "[[1,0,0,0],[0,1,0,0]]", "--labels", "7,12", "--payloads",
                                "[\"a stork\", null]"});
  EXPECT_EQ(taught["outcomes"], json({{"FREE", 2}}));
  EXPECT_EQ(taught["step"], 2);

  const json asked = Evokectl({"query", "faces", "--keys", "[[0.9,0.1,0,0],[0,0.9,0,0.1]]", "-k", "2", "--neighbors", "--payloads"});
  EXPECT_EQ(asked["rows"][0]["value"], 7);
  EXPECT_EQ(asked["rows"][1]["value"], 12);
  const json& neighbor = asked["rows"][0]["neighbors"][0];
  EXPECT_EQ(neighbor["slot"], taught["rows"][0]["slot"]);
  EXPECT_NEAR(neighbor["similarity"], 0.9938837, 1e-6);
  EXPECT_EQ(neighbor["age"], 1);
  EXPECT_EQ(neighbor["payloads"][0]["text"], "a stork");
  EXPECT_THAT(asked["rows"][0]["neighbors"], SizeIs(2));

  Evokectl({"update", "faces", "--keys", "1,0,0,0", "--labels", "7"});
  const json held = Evokectl({"slots", "faces", "--value", "7,99", "--keys", "--payloads"});
  ASSERT_THAT(held["slots"], SizeIs(1));
  EXPECT_EQ(held["slots"][0]["hits"], 1);
  EXPECT_EQ(held["slots"][0]["age"], 0);
  EXPECT_EQ(held["slots"][0]["key"], json({1, 0, 0, 0}));
  EXPECT_EQ(held["values"], json::parse(R"([{"value": 7, "live_slots": 1, "observations": 2},
                                            {"value": 99, "live_slots": 0, "observations": 0}])"));

  const Finished table = RunProgram({kEvokectl, "--address", server_.address(), "query", "faces", "--keys", "1,0,0,0", "--neighbors", "-k", "1"});
  EXPECT_THAT(table.out, AllOf(HasSubstr("\nROW  VALUE  CONFIDENCE\n0    7      1.0"),
                               HasSubstr("ROW  SLOT  VALUE  SIMILARITY  WEIGHT  AGE\n0    ")));
}

TEST_F(ContentProcessTest, SlotsComeInPagesAndTheOldestOfAllFirst) {
  const std::string make = "import numpy as np, sys\nrng = np.random.default_rng(5)\n"
                           "np.save(sys.argv[1], rng.normal(size=(2500, 4)).astype('<f4'))\n"
                           "np.save(sys.argv[2], np.arange(2500))\n";
  ASSERT_EQ(RunProgram({kPython, "-c", make, folder_.File("x.npy"), folder_.File("y.npy")}).exit_code, 0);
  const json taught = Evokectl({"update", "faces", "--keys", folder_.File("x.npy"), "--labels", folder_.File("y.npy"), "--batch", "1000"});
  EXPECT_THAT(taught["rows"], SizeIs(2500));
  EXPECT_EQ(taught["step"], 2500);

  std::vector<uint64_t> slots;
  std::vector<std::string> page = {"slots", "faces", "--limit", "900"};
  json next;
  do {
    const json found = Evokectl(page);
    EXPECT_LE(found["slots"].size(), 900u);
    for (const uint64_t slot : Field(found["slots"], "slot")) slots.push_back(slot);
    next = found["next"];
    page = {"slots", "faces", "--limit", "900", "--after", next.dump()};
  } while (!next.is_null());
  EXPECT_EQ(slots.size(), 2500u);
  EXPECT_TRUE(std::is_sorted(slots.begin(), slots.end()));
  EXPECT_EQ(std::adjacent_find(slots.begin(), slots.end()), slots.end());

  const json oldest = Evokectl({"slots", "faces", "--oldest", "--limit", "3", "--keys"});
  EXPECT_THAT(Field(oldest["slots"], "value"), ElementsAre(0, 1, 2));
  EXPECT_THAT(Field(oldest["slots"], "age"), ElementsAre(2499, 2498, 2497));
  EXPECT_THAT(oldest["slots"][0]["key"], SizeIs(4));
  const Finished bar = RunProgram({kEvokectl, "--address", server_.address(), "--progress", "always", "slots", "faces", "--oldest"});
  EXPECT_THAT(bar.err, HasSubstr("3000 of 3000 rows"));
}

TEST_F(ContentProcessTest, BatchesBeforeOneThatIsRefusedAreWrittenAndTheMessageSaysHowMany) {
  const std::string make = "import numpy as np, sys\nnp.save(sys.argv[1], np.array([[1, 0, 0, 0], [0, 1, 0, 0], [np.nan] * 4]))";
  ASSERT_EQ(RunProgram({kPython, "-c", make, folder_.File("x.npy")}).exit_code, 0);
  const std::vector<std::string> update = {"update", "faces", "--keys", folder_.File("x.npy"), "--labels", "1,2,3"};
  const Finished whole = testing::Evokectl(server_, update);
  EXPECT_THAT(whole.err, HasSubstr("NON_FINITE"));
  EXPECT_EQ(Evokectl({"hash", "faces"})["step"], 0) << "all rows or none";
  std::vector<std::string> batches = update;
  batches.insert(batches.end(), {"--batch", "2"});
  EXPECT_THAT(testing::Evokectl(server_, batches).err, StartsWith("evokectl: the first 2 of 3 rows are written\n"));
  EXPECT_EQ(Evokectl({"hash", "faces"})["step"], 2);
}

TEST_F(ContentProcessTest, WhatIsRefusedSaysSoWithTheRequestThatTheServersLogHas) {
  const Finished refused = testing::Evokectl(server_, {"query", "faces", "--keys", "1,2", "--request-id", "order-66"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(json::parse(refused.err)["error"]["reason"], "BAD_SHAPE");
  EXPECT_EQ(json::parse(refused.err)["error"]["request_id"], "order-66");
  EXPECT_THAT(server_.Log(), Not(HasSubstr("order-66"))) << "nothing is written for a call at the level info";
}

TEST(LogProcessTest, JsonLinesFollowACallFromItsTraceToTheSlowTurnAndTheAuditLog) {
  const TestFolder folder;
  WriteWholeFile(folder.File("conf"), "log-format = \"json\"\nlog-level = \"info\"\nslow-turn = \"1h\"\n");
  ServerProcess server({"--config", folder.File("conf")});
  server.Start();
  constexpr char kTraceParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto evokectl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--request-id", "order-66", "--traceparent", kTraceParent});
    EvokectlJson(server, std::move(arguments));
  };
  evokectl({"memory", "create", "faces", "--key-dim", "2", "--capacity", "10"});
  evokectl({"plan", "--key-dim", "2", "--capacity", "10"});
  evokectl({"update", "faces", "--keys", "1,0", "--labels", "7"});
  EXPECT_THAT(server.Log(), Not(HasSubstr("slow turn")));

  const size_t before = server.Log().size();
  WriteWholeFile(folder.File("conf"), "log-format = \"json\"\nlog-level = \"debug\"\nslow-turn = \"1us\"\n");
  server.Signal(SIGHUP);
  ASSERT_TRUE(Eventually([&] { return server.Log().find("SIGHUP", before) != std::string::npos; }));
  // Until the new configuration is in force, which is after the line.
  ASSERT_TRUE(Eventually([&] {
    evokectl({"update", "faces", "--keys", "1,0", "--labels", "7"});
    return server.Log().find("slow turn") != std::string::npos;
  }));

  json create, plan, slow, call;
  for (const absl::string_view line : absl::StrSplit(server.Log(), '\n', absl::SkipEmpty())) {
    const json object = json::parse(line.begin(), line.end());  // every line is one
    ASSERT_TRUE(object.contains("ts") && object.contains("level") && object.contains("msg")) << line;
    if (object["msg"] == "audit") (object.contains("dry_run") ? plan : create) = object;
    if (object["msg"] == "slow turn" && object["committed"]) slow = object;
    if (object["msg"] == "call" && object["method"] == "MemoryService/Update") call = object;
  }
  EXPECT_EQ(create["memory"], "faces");
  EXPECT_EQ(create["code"], "OK");
  EXPECT_EQ(plan["method"], "AdminService/CreateMemory");
  for (const json& line : {create, plan, call}) {
    EXPECT_EQ(line["request_id"], "order-66") << line;
    EXPECT_EQ(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736") << line;
    EXPECT_EQ(line["span_id"], "00f067aa0ba902b7") << line;
  }
  EXPECT_EQ(slow["memory"], "faces");
  EXPECT_EQ(slow["rows"], 1);
  EXPECT_EQ(slow["request_ids"], json({"order-66"}));
  EXPECT_THAT(slow["mutations"], SizeIs(1));
  EXPECT_EQ(slow["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_GT(slow["commit_seconds"], 0.0);
  EXPECT_GE(slow["seconds"], slow["commit_seconds"]);
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace evoke::testing
