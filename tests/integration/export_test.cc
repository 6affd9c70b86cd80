// Exports and imports by the built evokectl: other tools read the file, what breaks off is continued.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/integration/evokectl_runs.h"

namespace evoke::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Debian's interpreter: it is the one that has the package.
constexpr char kPython[] = "/usr/bin/python3";

// Reads an export as anybody would, and recomputes its checksums.
constexpr char kReadByNumpy[] = R"(
import hashlib, json, sys, zipfile
import numpy as np
archive = zipfile.ZipFile(sys.argv[1])
header = json.loads(archive.read("evoke.json"))
arrays = np.load(sys.argv[1])
assert archive.namelist()[0] == "evoke.json" and all(i.compress_type == 0 for i in archive.infolist())
assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in archive.infolist())
for name, member in header["members"].items():
    data = archive.read(name)
    assert len(data) == member["bytes"] and hashlib.sha256(data).hexdigest() == member["sha256"], name
steps, keys, ends = arrays["written_steps"], arrays["keys"], arrays["payload_ends"]
assert keys.dtype == np.float32 and keys.shape == (header["live_slots"], header["spec"]["key_dim"])
assert (np.diff(steps.astype(np.int64)) > 0).all() and abs(np.linalg.norm(keys, axis=1) - 1).max() < 1e-5
starts = np.concatenate([[0], ends[:-1]]).astype(int)
texts = [arrays["payload_bytes"][a:b].tobytes().decode() for a, b in zip(starts, ends.astype(int))]
values = arrays["values"][arrays["payload_rows"].astype(int)]
assert all(text == "example %d" % value for text, value in zip(texts, values)) and len(texts) > 0
print(json.dumps({"rows": len(keys), "format": header["format"], "durability": header["spec"]["durability"],
                  "margin": header["spec"]["margin"], "values": int(arrays["values"].sum())}))
)";

class ExportProcessTest : public ::testing::Test {
 protected:
  ExportProcessTest() { server_.Start(); }
  std::string File() const { return folder_.File("faces.npz"); }
  std::string Part(const std::string& name) const { return File() + ".partial/" + name; }
  // Large enough to be in the middle of.
  void MakeLarge() { Train(MakeMemory(server_, "faces", 128, 40000), 0, 20000); }
  // Imports into an empty server and compares.
  void ExpectImports() {
    ServerProcess another;
    another.Start();
    const json imported = EvokectlJson(another, {"import", File(), "--as", "again"});
    EXPECT_EQ(imported["memory"], "again");
    EXPECT_EQ(StateOf(another, "again"), StateOf(server_, "faces"));
    another.Kill();
    another.Start();
    EXPECT_EQ(StateOf(another, "again"), StateOf(server_, "faces"));
    EXPECT_EQ(EvokectlJson(another, {"import", File(), "--as", "again"})["state_hash"],
              imported["state_hash"])
        << "a second import finds everything in place";
    EXPECT_EQ(StateOf(another, "again"), StateOf(server_, "faces"));
  }

  const TestFolder folder_;
  ServerProcess server_;
};

TEST_F(ExportProcessTest, NumpyReadsTheFileAndAnotherServerImportsIt) {
  client::Memory memory = MakeMemory(server_, "faces", 8, 200);
  Train(memory, 0, 300);   // evicts
  Train(memory, 290, 10);  // hits
  const json exported = EvokectlJson(server_, {"export", "faces", File()});
  EXPECT_EQ(exported["rows"], 200);
  EXPECT_EQ(absl::StrCat(exported["token"]["state_hash"].get<std::string>(), " at ",
                         exported["token"]["step"].get<uint64_t>()),
            StateOf(server_, "faces"));
  EXPECT_FALSE(fs::exists(File() + ".partial"));
  ExpectImports();

  if (RunProgram({kPython, "-c", "import numpy"}).exit_code != 0) {
    GTEST_SKIP() << "python3-numpy is not installed, so nobody else read the file";
  }
  const Finished read = RunProgram({kPython, "-c", kReadByNumpy, File()});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  const json told = json::parse(read.out);
  EXPECT_EQ(told["rows"], 200);
  EXPECT_EQ(told["format"], "evoke-export 1");
  EXPECT_EQ(told["durability"], "wal");
  EXPECT_EQ(told["margin"], 0.1);
}

TEST_F(ExportProcessTest, EqualExportsAreEqualFiles) {
  Train(MakeMemory(server_, "faces"), 0, 100);
  EvokectlJson(server_, {"export", "faces", File()});
  EvokectlJson(server_, {"export", "faces", folder_.File("other")});
  EXPECT_EQ(ReadWholeFile(File()), ReadWholeFile(folder_.File("other")));
}

TEST_F(ExportProcessTest, AnExportGoesOnWhenTheServerIsBack) {
  MakeLarge();
  auto exporting = StartEvokectl(server_, {"export", "faces", File()});
  ASSERT_TRUE(Eventually([&] {
    std::error_code error;
    return fs::exists(File()) ||
           (fs::exists(Part("keys.raw"), error) && fs::file_size(Part("keys.raw"), error) > 0);
  }));
  server_.Kill();
  server_.Start();
  EXPECT_EQ(exporting->Wait(), 0);
  ExpectImports();
}

TEST_F(ExportProcessTest, AnExportThatGaveUpIsContinuedByTheNextCall) {
  MakeLarge();
  auto exporting = StartEvokectl(server_, {"export", "faces", File(), "-d", "2s"}, folder_.File("err"));
  ASSERT_TRUE(Eventually([&] {
    std::error_code error;
    return fs::exists(File()) ||
           (fs::exists(Part("keys.raw"), error) && fs::file_size(Part("keys.raw"), error) > 0);
  }));
  server_.Kill();
  const int exit_code = exporting->Wait();
  uint64_t rows = 0;
  if (exit_code != 0) {  // it was not too late to be disturbed
    EXPECT_EQ(exit_code, 1) << ReadWholeFile(folder_.File("err"));
    EXPECT_FALSE(fs::exists(File()));
    rows = json::parse(ReadWholeFile(Part("progress.json")))["rows"];
    EXPECT_GT(rows, 0u);
  }
  std::cout << "gave up after " << rows << " of 20000 rows\n";
  server_.Start();
  EvokectlJson(server_, {"export", "faces", File()});
  EXPECT_FALSE(fs::exists(File() + ".partial"));
  ExpectImports();
}

// Of a memory that went on meanwhile the old state cannot be had any more.
TEST_F(ExportProcessTest, AnExportOfAMemoryThatWentOnBeginsAnew) {
  client::Memory memory = MakeMemory(server_, "faces");
  Train(memory, 0, 50);
  EvokectlJson(server_, {"export", "faces", File()});
  fs::create_directory(File() + ".partial");
  json progress = {{"format", "evoke-export-partial 1"},
                   {"rows", 10},
                   {"payload_count", 0},
                   {"payload_size", 0},
                   {"last_step", 10},
                   {"memory", "faces"},
                   {"uid", memory.uid().ToHex()},
                   {"epoch", 1},
                   {"turn", 1},
                   {"step", 10},
                   {"state_hash", std::string(32, 'a')},
                   {"live_slots", 10},
                   {"payloads", true},
                   {"spec", {{"key_dim", 4}}}};
  WriteWholeFile(Part("progress.json"), progress.dump());
  for (const auto& [name, bytes] : std::map<std::string, size_t>{
           {"slots", 80}, {"values", 80}, {"written_steps", 80}, {"hits", 40}, {"keys", 160}}) {
    WriteWholeFile(Part(name + ".raw"), std::string(bytes, 'x'));
  }
  Train(memory, 50, 5);
  EXPECT_EQ(EvokectlJson(server_, {"export", "faces", File()})["rows"], 55);
  ExpectImports();
}

TEST_F(ExportProcessTest, AnImportThatWasKilledIsContinued) {
  MakeLarge();
  EvokectlJson(server_, {"export", "faces", File()});
  auto importing = StartEvokectl(server_, {"import", File(), "--as", "again"});
  ASSERT_TRUE(Eventually([&] {
    const auto now = server_.Connect()->DescribeMemory("again");
    return now.ok() && now->live_slots > 0;
  }));
  importing->Signal(SIGKILL);
  importing->Wait();
  std::cout << "killed after " << server_.Connect()->DescribeMemory("again")->live_slots
            << " of 20000 rows\n";
  EvokectlJson(server_, {"import", File(), "--as", "again"});
  EXPECT_EQ(StateOf(server_, "again"), StateOf(server_, "faces"));
}

TEST_F(ExportProcessTest, WhatIsDamagedOrTakenIsNamedAndNothingIsWritten) {
  Train(MakeMemory(server_, "faces"), 0, 100);
  EvokectlJson(server_, {"export", "faces", File()});
  std::string bytes = ReadWholeFile(File());
  const size_t named = bytes.find("keys.npy");  // in evoke.json; the next one begins the member itself
  bytes[bytes.find("keys.npy", named + 1) + 500] ^= 1;
  WriteWholeFile(folder_.File("damaged"), bytes);
  Finished refused = Evokectl(server_, {"import", folder_.File("damaged"), "--as", "again"});
  EXPECT_EQ(refused.exit_code, 1);
  const json error = json::parse(refused.err)["error"];
  EXPECT_EQ(error["reason"], "DAMAGED_FILE");
  EXPECT_EQ(error["metadata"]["member"], "keys.npy");
  EXPECT_EQ(server_.Connect()->ListMemories()->size(), 1u);

  Train(MakeMemory(server_, "other"), 500, 3);
  const std::string before = StateOf(server_, "other");
  refused = Evokectl(server_, {"import", File(), "--as", "other"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(json::parse(refused.err)["error"]["reason"], "SLOT_TAKEN");
  EXPECT_EQ(StateOf(server_, "other"), before);
}

}  // namespace
}  // namespace evoke::testing
