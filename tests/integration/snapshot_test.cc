// Snapshots, restores and forks by the built evokectl before the built evoked; what is left, by
// evoke-inspect.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "evoke/snapshots.h"
#include "tests/integration/evokectl_runs.h"

namespace evoke::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class SnapshotProcessTest : public ::testing::Test {
 protected:
  std::unique_ptr<ServerProcess> Server(std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"--backup-dir", backups_.path()});
    auto server = std::make_unique<ServerProcess>(std::move(flags));
    server->Start();
    return server;
  }
  static json Snapshot(const ServerProcess& server, const std::string& name) {
    return EvokectlJson(server, {"snapshot", "create", name});
  }
  static std::string FolderOf(const ServerProcess& server, const json& snapshot) {
    return absl::StrCat(server.data_dir(), "/memories/", snapshot["token"]["uid"].get<std::string>(),
                        "/snapshots/", snapshot["id"].get<std::string>());
  }
  static Finished Inspect(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kEvokeInspect);
    return RunProgram(arguments);
  }
  std::string Reason(const Finished& run) {
    return json::parse(run.err, nullptr, false)["error"]["reason"].get<std::string>();
  }

  const TestFolder backups_;
};

TEST_F(SnapshotProcessTest, RestoreByTokenLeadsBackToTheStateOfTheSnapshot) {
  const auto server = Server();
  client::Memory memory = MakeMemory(*server, "faces");
  Train(memory, 0, 300);
  const std::string before = StateOf(*server, "faces");
  const json snapshot = Snapshot(*server, "faces");
  Train(memory, 300, 100);
  ASSERT_NE(StateOf(*server, "faces"), before);

  const json restored = EvokectlJson(*server, {"snapshot", "restore", "faces", "--token",
                                               snapshot["token"]["text"].get<std::string>(), "--yes"});
  EXPECT_EQ(restored["changed"], true);
  EXPECT_EQ(restored["epoch"], 2);
  EXPECT_EQ(StateOf(*server, "faces"), before);

  Train(memory, 300, 1);  // the server forgot the handle's session, which is replaced
  EXPECT_THAT(StateOf(*server, "faces"), HasSubstr(" at 301"));
}

TEST_F(SnapshotProcessTest, ATokenOfAnotherStateRestoresNothing) {
  const auto server = Server();
  Train(MakeMemory(*server, "faces"), 0, 10);
  const json snapshot = Snapshot(*server, "faces");
  const std::string id = snapshot["id"], text = snapshot["token"]["text"];
  const std::string before = StateOf(*server, "faces");
  client::SnapshotToken token = *client::SnapshotToken::Parse(text);
  token.state_hash = std::string(32, 'a');
  const auto restore = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"snapshot", "restore", "faces", "--yes"});
    return Evokectl(*server, flags);
  };
  Finished refused = restore({"--token", token.ToText()});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(Reason(refused), "SNAPSHOT_NOT_FOUND");
  refused = restore({"--token", token.ToText(), "--id", id});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(Reason(refused), "TOKEN_MISMATCH");
  token.uid.bytes[0] ^= 1;
  refused = restore({"--token", token.ToText()});
  EXPECT_EQ(Reason(refused), "TOKEN_MISMATCH");
  EXPECT_EQ(restore({"--token", text + "0"}).exit_code, 2);
  EXPECT_EQ(Evokectl(*server, {"snapshot", "restore", "faces", "--id", id}).exit_code, 2) << "without --yes";
  EXPECT_EQ(StateOf(*server, "faces"), before);
}

// What is complete is listed, whatever became of the copy; what it left behind is no snapshot.
TEST_F(SnapshotProcessTest, ACopyIsContinuedAfterTheServerOrEvokectlWasKilled) {
  const auto server = Server();
  client::Memory memory = MakeMemory(*server, "faces", 128, 40000);
  for (const bool kill_server : {true, false}) {
    Train(memory, kill_server ? 0 : 8192, 8192);
    const std::string id = Snapshot(*server, "faces")["id"];
    const std::string whole = backups_.File(id), part = whole + ".partial";
    auto copy = StartEvokectl(*server, {"snapshot", "copy", "faces", id, "--to", ""});
    ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(part) || std::filesystem::exists(whole); }));
    if (kill_server) {
      server->Kill();
      server->Start();
      EXPECT_EQ(copy->Wait(), 0) << "the call goes on when the server is back";
    } else {
      copy->Signal(SIGKILL);
      copy->Wait();
      EvokectlJson(*server, {"snapshot", "copy", "faces", id, "--to", ""});
    }
    EXPECT_FALSE(std::filesystem::exists(part));
    EXPECT_EQ(EvokectlJson(*server, {"snapshot", "verify", "--backup", "", "--id", id})["id"], id);
    const Finished offline = Inspect({"verify-snapshot", whole});
    EXPECT_EQ(offline.exit_code, 0) << offline.err;
  }
  EXPECT_EQ(EvokectlJson(*server, {"snapshot", "list", "--backup", ""})["snapshots"].size(), 2u);
}

TEST_F(SnapshotProcessTest, ABackupIsRestoredByAnotherServerWhenTheFirstIsGone) {
  auto server = Server();
  Train(MakeMemory(*server, "faces"), 0, 200);
  const std::string before = StateOf(*server, "faces");
  const std::string id = Snapshot(*server, "faces")["id"];
  EvokectlJson(*server, {"snapshot", "copy", "faces", id, "--to", ""});
  server.reset();  // with its data directory

  const auto another = Server();
  const json restored =
      EvokectlJson(*another, {"snapshot", "restore", "--backup", "", "--id", id, "--as", "again"});
  EXPECT_EQ(restored["memory"], "again");
  EXPECT_EQ(StateOf(*another, "again"), before);
  another->Kill();
  another->Start();
  EXPECT_EQ(StateOf(*another, "again"), before);
}

TEST_F(SnapshotProcessTest, AForkHasTheStateAndNothingElseInCommon) {
  const auto server = Server();
  client::Memory memory = MakeMemory(*server, "faces");
  Train(memory, 0, 50);
  const std::string before = StateOf(*server, "faces");
  const json forked = EvokectlJson(*server, {"memory", "fork", "faces", "trial"});
  EXPECT_EQ(forked["origin"]["uid"], memory.uid().ToHex());
  EXPECT_EQ(forked["origin"]["step"], 50);
  EXPECT_EQ(StateOf(*server, "trial"), before);
  Train(*server->Connect()->OpenMemory("trial"), 50, 5);
  EXPECT_EQ(StateOf(*server, "faces"), before);
  const Finished taken = Evokectl(*server, {"memory", "fork", "faces", "trial"});
  EXPECT_EQ(taken.exit_code, 1);
  EXPECT_EQ(Reason(taken), "MEMORY_EXISTS");
}

TEST_F(SnapshotProcessTest, RecordsReplayedFromASnapshotLeadToTheStore) {
  const auto server = Server();
  client::Memory memory = MakeMemory(*server, "faces");
  Train(memory, 0, 100);
  const json snapshot = Snapshot(*server, "faces");
  for (uint64_t i = 100; i < 150; ++i) Train(memory, i, 1);
  const std::string hash = memory.StateHash()->state_hash;
  ASSERT_EQ(server->Stop(), 0);

  const std::string folder = FolderOf(*server, snapshot);
  const Finished listed = Inspect({"--data-dir", server->data_dir(), "snapshots"});
  EXPECT_THAT(listed.out, HasSubstr(snapshot["token"]["text"].get<std::string>()));
  const Finished verified = Inspect({"verify-snapshot", folder});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  const Finished replayed = Inspect({"--data-dir", server->data_dir(), "replay", "faces", "--from", folder});
  EXPECT_EQ(replayed.exit_code, 0) << replayed.err;
  EXPECT_THAT(replayed.out,
              AllOf(HasSubstr("50 turns replayed"), HasSubstr("hash " + hash), HasSubstr("OK")));

  WriteWholeFile(folder + "/MANIFEST.json", ReadWholeFile(folder + "/MANIFEST.json") + " ");
  EXPECT_EQ(Inspect({"verify-snapshot", folder}).exit_code, 3);
}

TEST_F(SnapshotProcessTest, AReplayThatRecordsOrARestoreForbidSaysSo) {
  const auto server = Server({"--keep-records-count", "16"});
  client::Memory memory = MakeMemory(*server, "faces");
  Train(memory, 0, 100);
  const json old = Snapshot(*server, "faces");
  for (uint64_t i = 100; i < 150; ++i) Train(memory, i, 1);
  const json young = Snapshot(*server, "faces");
  const auto replay = [&](const json& from) {
    EXPECT_EQ(server->Stop(), 0);
    Finished run =
        Inspect({"--data-dir", server->data_dir(), "replay", "faces", "--from", FolderOf(*server, from)});
    server->Start();
    return run;
  };
  const Finished too_old = replay(old);
  EXPECT_EQ(too_old.exit_code, 1);
  EXPECT_THAT(too_old.err, HasSubstr("do not reach back"));

  EvokectlJson(*server, {"snapshot", "restore", "faces", "--id", old["id"].get<std::string>(), "--yes"});
  Train(*server->Connect()->OpenMemory("faces"), 100, 3);
  const Finished across = replay(young);
  EXPECT_NE(across.exit_code, 0);
  EXPECT_THAT(across.err, AllOf(HasSubstr("restore"), HasSubstr("cannot be replayed over")));
  const Finished from_origin = replay(old);  // which is what the restore took
  EXPECT_EQ(from_origin.exit_code, 0) << from_origin.err;
}

TEST_F(SnapshotProcessTest, SnapshotsAreMadeWhileTrainersRunAndTheirStepsTile) {
  const auto server = Server();
  MakeMemory(*server, "faces", 16, 5000);
  std::atomic<bool> stop = false;
  std::mutex mu;
  std::vector<uint64_t> steps;  // after each step of one row
  std::vector<std::thread> trainers;
  for (int t = 0; t < 3; ++t) {
    trainers.emplace_back([&, t] {
      client::Memory memory = *server->Connect()->OpenMemory("faces");
      std::vector<float> x(16);
      for (int i = 0; !stop; ++i) {
        for (int e = 0; e < 16; ++e) x[e] = static_cast<float>((i * 37 + e * e * 11 + t * 5) % 101) - 50;
        const std::vector<int64_t> values = {i % 50};
        const auto step =
            memory.TrainStep({.embeddings = client::MatrixView::Float32(x, 1), .values = values});
        ASSERT_TRUE(step.ok()) << step.status();
        std::lock_guard<std::mutex> lock(mu);
        steps.push_back(step->header.step);
      }
    });
  }
  client::Memory memory = *server->Connect()->OpenMemory("faces");
  std::vector<client::Snapshot> made;
  for (int i = 0; i < 3; ++i) {
    const auto snapshot = memory.CreateSnapshot();
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    if (snapshot.ok()) made.push_back(*snapshot);
  }
  stop = true;
  for (std::thread& trainer : trainers) trainer.join();
  std::sort(steps.begin(), steps.end());
  for (size_t i = 0; i < steps.size(); ++i) ASSERT_EQ(steps[i], i + 1);
  ASSERT_EQ(made.size(), 3u);
  EXPECT_LT(made[0].token.step, made[2].token.step) << "they trained meanwhile";
  for (const client::Snapshot& snapshot : made) {
    const auto restored = server->Connect()->RestoreSnapshotAs(absl::StrCat("at-", snapshot.token.step),
                                                               {.token = snapshot.token}, "faces");
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(StateOf(*server, restored->memory.name()),
              absl::StrCat(snapshot.token.state_hash, " at ", snapshot.token.step));
  }
}

}  // namespace
}  // namespace evoke::testing
