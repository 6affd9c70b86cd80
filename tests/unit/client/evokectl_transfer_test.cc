// Snapshots, exports and imports by evokectl, before a server that misbehaves; export files that are damaged.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/cli/evokectl.h"
#include "client/cli/export_file.h"
#include "client/cli/partial_export.h"
#include "client/cli/progress_bar.h"
#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "evoke/transfers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::cli {
namespace {

namespace fs = std::filesystem;
using client::FakeServer;
using client::ManualClock;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class EvokectlTransferTest : public testing::Test {
 protected:
  EvokectlTransferTest() {
    static int count = 0;
    folder_ = testing::TempDir() + "/transfer-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    fs::create_directories(folder_);
    server_.AddMemory("faces", 2);
  }
  ~EvokectlTransferTest() override { fs::remove_all(folder_); }

  std::string File() const { return folder_ + "/faces.npz"; }
  int Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"--address", server_.address(), "-o", "json"});
    std::istringstream in;
    std::ostringstream out, err;
    const int code = RunEvokectl(args, {.in = in, .out = out, .err = err, .clock = clock_});
    out_ = Json::parse(out.str(), nullptr, false);
    err_ = err.str();
    return code;
  }
  std::string Reason() { return Json::parse(err_)["error"]["reason"]; }
  // Slots written at steps 1 to `count`, every second one with a payload of two places.
  void Fill(const std::string& name, uint64_t count, uint64_t step_after) {
    client::SlotRows rows;
    for (uint64_t step = 1; step <= count; ++step) {
      rows.slots.push_back(step * 7);
      rows.values.push_back(-static_cast<int64_t>(step));
      rows.written_steps.push_back(step);
      rows.hits.push_back(2);
      rows.keys.insert(rows.keys.end(), {0.6f, -0.8f});
      if (step % 2 == 0) continue;
      rows.payloads.push_back({static_cast<uint32_t>(step - 1), 1, step, std::string(step, 'b')});
      rows.payloads.push_back({static_cast<uint32_t>(step - 1), 0, step, std::string(step, 'a')});
    }
    auto client = *client::Client::Connect({.addresses = {server_.address()}, .clock = clock_});
    ASSERT_TRUE(client->OpenMemory(name)
                    ->Import(client::ImportSlotsRequest{.rows = rows, .step_after = step_after})
                    .ok());
  }

  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::string folder_;
  Json out_;
  std::string err_;
};

std::string Content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST_F(EvokectlTransferTest, AnExportIsReadBackToTheBit) {
  Fill("faces", 9, 20);
  ASSERT_EQ(Run({"export", "faces", File()}), kExitOk) << err_;
  EXPECT_EQ(out_["rows"], 9);
  EXPECT_EQ(out_["bytes"], fs::file_size(File()));
  const auto file = ExportFile::Open(File());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Verify(nullptr).ok());
  EXPECT_EQ((*file)->step(), 20u);
  EXPECT_EQ((*file)->counts().payloads, 10u);
  EXPECT_EQ(*(*file)->Read<uint64_t>(kSlots, 7, 2), (std::vector<uint64_t>{56, 63}));
  EXPECT_EQ(*(*file)->Read<uint16_t>(kPayloadPlaces, 0, 4), (std::vector<uint16_t>{0, 1, 0, 1}))
      << "by place";
  const auto bytes = *(*file)->Read<char>(kPayloadBytes, 2, 6);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "aaabbb");

  ASSERT_EQ(Run({"import", File(), "--as", "again"}), kExitOk) << err_;
  EXPECT_EQ(out_["state_hash"], (*file)->state_hash());
  ASSERT_EQ(Run({"export", "again", folder_ + "/again.npz"}), kExitOk) << err_;
  const auto again = ExportFile::Open(folder_ + "/again.npz");
  ASSERT_TRUE((*again)->Verify(nullptr).ok());
  EXPECT_EQ(*(*again)->Read<char>(kPayloadBytes, 0, (*again)->counts().payload_bytes),
            *(*file)->Read<char>(kPayloadBytes, 0, (*file)->counts().payload_bytes));
}

TEST_F(EvokectlTransferTest, AnExportThatGaveUpIsContinuedByTheNextRun) {
  Fill("faces", 9, 9);
  // Two rows, then nothing but refusals.
  server_.Fail("Export", {{.apply = true}, {.code = absl::StatusCode::kInternal}});
  EXPECT_EQ(Run({"export", "faces", File()}), kExitFailure);
  EXPECT_FALSE(fs::exists(File()));
  EXPECT_EQ(Json::parse(Content(File() + ".partial/progress.json"))["rows"], 2);
  std::ofstream(File() + ".partial/keys.raw", std::ios::app) << "torn";  // as a crash leaves it
  ASSERT_EQ(Run({"export", "faces", File()}), kExitOk) << err_;
  EXPECT_FALSE(fs::exists(File() + ".partial"));
  ASSERT_EQ(Run({"import", File(), "--as", "again"}), kExitOk) << err_;
  EXPECT_EQ(out_["rows"], 9);
}

TEST_F(EvokectlTransferTest, AnExportBeginsAnewWhenTheMemoryWentOn) {
  Fill("faces", 4, 4);
  server_.Fail("Export", {{.apply = true}, {.code = absl::StatusCode::kInternal}});
  EXPECT_EQ(Run({"export", "faces", File()}), kExitFailure);
  server_.ForgetSessions("faces");  // a turn
  ASSERT_EQ(Run({"export", "faces", File()}), kExitOk) << err_;
  EXPECT_EQ(out_["rows"], 4);
  ASSERT_EQ(Run({"import", File(), "--as", "again"}), kExitOk) << err_;
}

TEST_F(EvokectlTransferTest, TwoExportsToOneFileAreNotMadeAtATime) {
  const auto held = PartialExport::Open(File());
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(Run({"export", "faces", File()}), kExitFailure);
  EXPECT_EQ(Reason(), "EXPORT_RUNS");
}

TEST_F(EvokectlTransferTest, AFlippedBitAnywhereInAMemberIsFoundAndTheMemberNamed) {
  Fill("faces", 9, 9);
  ASSERT_EQ(Run({"export", "faces", File()}), kExitOk) << err_;
  const std::string whole = Content(File());
  for (const ColumnFormat& column : kColumns) {
    // The names stand in evoke.json, then before each member, then in the directory.
    const size_t named = whole.find(column.member(), whole.find("PK\x03\x04", 4));
    ASSERT_NE(named, std::string::npos);
    std::string damaged = whole;
    damaged[named + 60] ^= 0x10;  // in the head of the .npy, or the fields before it
    damaged[named + 150] ^= 0x10;
    const std::string path = folder_ + "/damaged";
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_EQ(Run({"import", path, "--as", "again"}), kExitFailure) << column.name;
    EXPECT_EQ(Reason(), "DAMAGED_FILE") << column.name;
    EXPECT_EQ(Json::parse(err_)["error"]["metadata"]["member"], column.member());
  }
  for (const size_t size : {size_t{0}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(folder_ + "/cut", std::ios::binary) << whole.substr(0, size);
    EXPECT_EQ(Run({"import", folder_ + "/cut", "--as", "again"}), kExitFailure) << size;
    EXPECT_EQ(Reason(), "DAMAGED_FILE") << size;
  }
  EXPECT_EQ(Run({"import", folder_ + "/absent"}), kExitFailure);
  EXPECT_THAT(server_.calls("Import"), SizeIs(1)) << "only that of the test";
}

TEST_F(EvokectlTransferTest, AMemoryThatHoldsOtherRowsIsNotImportedInto) {
  Fill("faces", 5, 5);
  ASSERT_EQ(Run({"export", "faces", File()}), kExitOk) << err_;
  server_.AddMemory("other", 2);
  Fill("other", 4, 4);  // as an import that broke off
  ASSERT_EQ(Run({"import", File(), "--as", "other"}), kExitOk) << err_;
  Fill("other", 1, 6);
  EXPECT_EQ(Run({"import", File(), "--as", "other"}), kExitFailure);
  EXPECT_EQ(Reason(), "SLOT_TAKEN");
}

TEST_F(EvokectlTransferTest, SnapshotCommandsGoToTheServerAndComeBackAsJson) {
  ASSERT_EQ(Run({"snapshot", "create", "faces"}), kExitOk) << err_;
  const std::string id = out_["id"], token = out_["token"]["text"];
  EXPECT_THAT(err_, IsEmpty()) << "no bar where nobody looks";
  ASSERT_EQ(Run({"snapshot", "list", "faces"}), kExitOk);
  EXPECT_THAT(out_["snapshots"], SizeIs(1));
  EXPECT_EQ(Run({"snapshot", "verify", "faces", id, "--progress", "always"}), kExitOk);
  EXPECT_THAT(err_, HasSubstr("verify of faces: check"));
  EXPECT_EQ(Run({"snapshot", "copy", "faces", id, "--to", "away"}), kExitOk);
  EXPECT_EQ(Run({"snapshot", "restore", "faces", "--token", token, "--yes"}), kExitOk) << err_;
  EXPECT_EQ(out_["epoch"], 2);
  EXPECT_EQ(Run({"snapshot", "restore", "faces", "--id", id, "--as", "again"}), kExitOk) << err_;
  EXPECT_EQ(out_["memory"], "again");
  EXPECT_EQ(Run({"memory", "fork", "faces", "trial"}), kExitOk) << err_;
  EXPECT_EQ(out_["origin"]["epoch"], 2);
  EXPECT_EQ(Run({"snapshot", "delete", "faces", id, "--yes"}), kExitOk);
  EXPECT_EQ(out_["deleted"], true);
  EXPECT_EQ(Run({"snapshot", "verify", "faces", id}), kExitFailure);
  EXPECT_EQ(Reason(), "SNAPSHOT_NOT_FOUND");
}

TEST_F(EvokectlTransferTest, WhatIsAskedForWronglyIsNotSent) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"snapshot"},
                                             {"snapshot", "list"},
                                             {"snapshot", "verify", "faces"},
                                             {"snapshot", "restore", "faces", "--yes"},
                                             {"snapshot", "restore", "faces", "--token", "evoke1:x", "--yes"},
                                             {"snapshot", "restore", "faces", "--id", "1-1-x"},
                                             {"snapshot", "restore", "--id", "1-1-x", "--as", "again"},
                                             {"snapshot", "delete", "faces", "1-1-x"},
                                             {"snapshot", "copy", "faces", "1-1-x"},
                                             {"memory", "fork", "faces"},
                                             {"export", "faces"},
                                             {"import"},
                                             {"snapshot", "create", "faces", "--progress", "loud"}}) {
    EXPECT_EQ(Run(args), kExitUsage) << testing::PrintToString(args);
  }
  EXPECT_THAT(server_.calls("RestoreSnapshot"), IsEmpty());
  EXPECT_THAT(server_.calls("DeleteSnapshot"), IsEmpty());
}

TEST(ProgressBarTest, ATerminalSeesOneLineAPhaseThatIsDrawnAgain) {
  ManualClock clock;
  std::ostringstream out;
  {
    ProgressBar bar({.out = out, .clock = clock, .what = "copy of faces"});
    bar.Show("hash", 0, 2'000'000);
    bar.Show("hash", 1'000, 2'000'000);  // too soon
    clock.Sleep(absl::Seconds(1));
    bar.Show("hash", 1'000'000, 2'000'000);
    bar.Show("copy", 7, 0);
  }
  EXPECT_THAT(out.str(),
              HasSubstr("\rcopy of faces: hash [############............]  50% 1.0 MB of 2.0 MB\n"));
  EXPECT_THAT(out.str(), HasSubstr("\rcopy of faces: copy 7 B\n"));
  EXPECT_THAT(out.str(), Not(HasSubstr("1.0 kB")));
}

TEST(ProgressBarTest, AFileSeesALineNowAndThenAndTheEnd) {
  ManualClock clock;
  std::ostringstream out;
  ProgressBar bar({.out = out, .clock = clock, .terminal = false, .what = "x"});
  for (uint64_t done = 0; done <= 100; ++done) {
    bar.Show("check", done, 100);
    clock.Sleep(absl::Milliseconds(100));
  }
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, HasSubstr("100 of 100 rows\n"));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
}

}  // namespace
}  // namespace evoke::cli
