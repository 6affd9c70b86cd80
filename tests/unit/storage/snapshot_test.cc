#include "storage/snapshot.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/file_util.h"
#include "storage/sha256.h"
#include "tests/unit/storage/store_matchers.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TestFolder;
using testing::UidOf;

void Write(const std::string& path, const std::string& content) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest() {
    fs::create_directories(snapshots_);
    fs::create_directories(root_ + "/tmp");
  }

  static SnapshotManifest Manifest(uint64_t turn) {
    SnapshotManifest m{.memory = "faces",
                       .spec = std::string("\0\x01opaque", 8),
                       .uid = UidOf(3),
                       .epoch = Epoch(2),
                       .turn = Turn(turn),
                       .step = Step(99)};
    m.chain = {.low = 5, .high = ~uint64_t{0}};
    m.state_hash = {.low = 1, .high = 2};
    m.live_count = 3;
    m.partitions = {{.rows = 1, .hash = {.low = 1}}, {.rows = 2, .hash = {.high = 2}}};
    m.created = absl::FromUnixMillis(1'700'000'000'123);
    m.id = SnapshotId(m.epoch, m.turn, m.created);
    return m;
  }

  // A published one, and its folder.
  std::string Publish(uint64_t turn) {
    SnapshotManifest m = Manifest(turn);
    const std::string tmp = root_ + "/tmp/making";
    Write(tmp + "/store/CURRENT", "MANIFEST-000004\n");
    Write(tmp + "/store/000012.sst", std::string(3 << 20, 'x') + std::to_string(turn));
    EXPECT_EQ(HashFiles(tmp, nullptr, &m), absl::OkStatus());
    EXPECT_EQ(PublishSnapshot(tmp, snapshots_, m), absl::OkStatus());
    return snapshots_ + "/" + m.id;
  }

  TestFolder folder_;
  const std::string root_ = folder_ / "root";
  const std::string snapshots_ = root_ + "/snapshots";
  const std::string backup_ = root_ + "/backup";
};

TEST_F(SnapshotTest, WhatWasPublishedIsReadBackAndVerified) {
  const std::string folder = Publish(7);
  const absl::StatusOr<SnapshotManifest> read = ReadSnapshot(folder);
  ASSERT_TRUE(read.ok()) << read.status();
  SnapshotManifest expected = Manifest(7);
  expected.files = read->files;
  EXPECT_EQ(*read, expected);
  EXPECT_EQ(read->files.size(), 2);
  EXPECT_EQ(read->files[0].name, "store/000012.sst");
  EXPECT_EQ(read->files[1].sha256, Sha256("MANIFEST-000004\n"));
  EXPECT_EQ(VerifyFiles(folder, *read, nullptr), absl::OkStatus());
  EXPECT_FALSE(fs::exists(root_ + "/tmp/making"));
}

TEST_F(SnapshotTest, AFolderWithoutDoneIsNoSnapshotAndIsNotListed) {
  const std::string first = Publish(7), second = Publish(11);
  ASSERT_EQ(ListSnapshots(snapshots_)->size(), 2);
  EXPECT_EQ((*ListSnapshots(snapshots_))[0].turn, Turn(7));  // though "2-11-" sorts before "2-7-"
  fs::remove(first + "/DONE");
  EXPECT_TRUE(absl::IsNotFound(ReadSnapshot(first).status()));
  ASSERT_EQ(ListSnapshots(snapshots_)->size(), 1);
  EXPECT_THAT(*ListSnapshots(root_ + "/nowhere"), IsEmpty());
}

TEST_F(SnapshotTest, AFlippedBitAMissingAndAStrangeFileAreNamed) {
  const std::string folder = Publish(7);
  const SnapshotManifest manifest = *ReadSnapshot(folder);
  const std::string table = folder + "/store/000012.sst";
  std::string content = *ReadFile(table);
  content[1 << 20] ^= 1;
  Write(table, content);
  absl::Status found = VerifyFiles(folder, manifest, nullptr);
  EXPECT_TRUE(absl::IsDataLoss(found));
  EXPECT_THAT(std::string(found.message()), HasSubstr("000012.sst"));
  fs::remove(table);
  EXPECT_THAT(std::string(VerifyFiles(folder, manifest, nullptr).message()),
              HasSubstr("000012.sst: is missing"));
  content[1 << 20] ^= 1;
  Write(table, content);
  Write(folder + "/store/stranger", "?");
  EXPECT_THAT(std::string(VerifyFiles(folder, manifest, nullptr).message()), HasSubstr("stranger"));
}

TEST_F(SnapshotTest, AChangedManifestIsFound) {
  const std::string folder = Publish(7);
  std::string json = *ReadFile(folder + "/MANIFEST.json");
  json.replace(json.find("\"step\": 99"), 10, "\"step\": 98");
  Write(folder + "/MANIFEST.json", json);
  EXPECT_TRUE(absl::IsDataLoss(ReadSnapshot(folder).status()));
}

TEST_F(SnapshotTest, ANumberThatIsNotWholeIsFound) {
  const std::string json = EncodeManifest(Manifest(7));
  for (const std::string field : {"version", "epoch", "turn", "live_slots", "created_unix_ms", "rows", "bytes"}) {
    const size_t begin = json.find("\"" + field + "\": ") + field.size() + 4;
    const size_t end = json.find_first_of(",\n }", begin);
    for (const std::string number : {"6.7e22", "1.5", "\"7\""}) {
      const std::string changed = json.substr(0, begin) + number + json.substr(end);
      EXPECT_TRUE(absl::IsDataLoss(DecodeManifest(changed).status())) << changed;
    }
  }
}

TEST_F(SnapshotTest, AManifestCannotNameAFileOutside) {
  SnapshotManifest m = Manifest(7);
  for (const char* name : {"../catalog", "/etc/passwd", "store/../../x", "store//x", "MANIFEST.json", ""}) {
    m.files = {{.name = name, .bytes = 1, .sha256 = Sha256("x")}};
    EXPECT_TRUE(absl::IsDataLoss(DecodeManifest(EncodeManifest(m)).status())) << name;
  }
  m.files[0].name = "store/x";
  EXPECT_TRUE(DecodeManifest(EncodeManifest(m)).ok());
}

TEST_F(SnapshotTest, ANewerFormatIsRefusedWithBothVersions) {
  std::string json = EncodeManifest(Manifest(7));
  json.replace(json.find("\"version\": 1"), 12, "\"version\": 2");
  const absl::Status status = DecodeManifest(json).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2, this program reads 1"));
}

TEST_F(SnapshotTest, ACopyThatWasBrokenOffGoesOn) {
  const std::string folder = Publish(7);
  const SnapshotManifest manifest = *ReadSnapshot(folder);
  EXPECT_TRUE(absl::IsCancelled(
      CopySnapshot(folder, backup_, [](uint64_t done, uint64_t) { return done < 2 << 20; })));
  const std::string copy = backup_ + "/" + manifest.id;
  EXPECT_FALSE(fs::exists(copy));
  const uint64_t there = fs::file_size(copy + ".partial/store/000012.sst");
  EXPECT_GE(there, 1 << 20);
  EXPECT_LT(there, manifest.files[0].bytes);
  ASSERT_EQ(CopySnapshot(folder, backup_, nullptr), absl::OkStatus());
  EXPECT_EQ(*ReadSnapshot(copy), manifest);
  EXPECT_EQ(VerifyFiles(copy, manifest, nullptr), absl::OkStatus());
  EXPECT_FALSE(fs::exists(copy + ".partial"));
  EXPECT_EQ(CopySnapshot(folder, backup_, [](uint64_t, uint64_t) { return false; }),
            absl::OkStatus());  // is there
}

TEST_F(SnapshotTest, WhatAnEarlierAttemptLeftIsCheckedBeforeItIsBelieved) {
  const std::string folder = Publish(7);
  const SnapshotManifest manifest = *ReadSnapshot(folder);
  const std::string partial = backup_ + "/" + manifest.id + ".partial";
  Write(partial + "/store/000012.sst", std::string(1 << 20, 'y'));               // another beginning
  Write(partial + "/store/CURRENT", std::string(manifest.files[1].bytes, 'y'));  // another file of its size
  ASSERT_EQ(CopySnapshot(folder, backup_, nullptr), absl::OkStatus());
  EXPECT_EQ(VerifyFiles(backup_ + "/" + manifest.id, manifest, nullptr), absl::OkStatus());
}

TEST_F(SnapshotTest, RemovesWhatTheManifestNamesAndNothingElse) {
  const std::string folder = Publish(7);
  EXPECT_TRUE(*RemoveSnapshot(folder));
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_FALSE(*RemoveSnapshot(folder));
  const std::string other = Publish(8);
  Write(other + "/notes.txt", "mine");
  EXPECT_FALSE(RemoveSnapshot(other).ok());
  EXPECT_TRUE(fs::exists(other + "/notes.txt"));
  EXPECT_FALSE(fs::exists(other + "/DONE"));
}

TEST_F(SnapshotTest, AClonedStoreSharesTablesAndNothingThatIsWritten) {
  const std::string folder = Publish(7);
  const SnapshotManifest manifest = *ReadSnapshot(folder);
  const std::string clone = root_ + "/clone";
  ASSERT_EQ(CloneStore(folder, manifest, clone, nullptr), absl::OkStatus());
  EXPECT_EQ(fs::hard_link_count(clone + "/000012.sst"), 2);
  Write(clone + "/CURRENT", "changed");
  EXPECT_EQ(VerifyFiles(folder, manifest, nullptr), absl::OkStatus());
}

TEST(SnapshotIdTest, NothingElseMayBecomeAPath) {
  EXPECT_EQ(SnapshotId(Epoch(3), Turn(1042), absl::FromUnixMillis(1'700'000'000'123)),
            "3-1042-20231114T221320.123Z");
  EXPECT_TRUE(IsSnapshotId("3-1042-20231114T221320.123Z"));
  for (const char* id : {"", "..", "3-1-../x", "3-1-x/y", "-1-2", "3-1", "3-1-2-4"})
    EXPECT_FALSE(IsSnapshotId(id)) << id;
}

}  // namespace
}  // namespace evoke
