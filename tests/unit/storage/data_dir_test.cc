#include "storage/data_dir.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/catalog.h"
#include "storage/file_util.h"
#include "tests/unit/storage/store_matchers.h"

namespace evoke {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TestFolder;
using testing::UidOf;

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class DataDirTest : public ::testing::Test {
 protected:
  std::unique_ptr<DataDir> Open() {
    auto dir = DataDir::Open(path_);
    EXPECT_TRUE(dir.ok()) << dir.status();
    return dir.ok() ? *std::move(dir) : nullptr;
  }

  TestFolder folder_;
  const std::string path_ = folder_ / "data";
};

TEST_F(DataDirTest, IsMadeAndOpensAgain) {
  ASSERT_NE(Open(), nullptr);
  EXPECT_EQ(ReadFile(path_ + "/FORMAT").value(), "evoke-data 1\n");
  ASSERT_NE(Open(), nullptr);
}

TEST_F(DataDirTest, SecondOwnerIsToldWhoHasIt) {
  auto first = Open();
  const absl::Status second = DataDir::Open(path_).status();
  EXPECT_TRUE(absl::IsAborted(second)) << second;
  EXPECT_THAT(std::string(second.message()), HasSubstr("in use by process " + std::to_string(::getpid())));
  first.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(DataDirTest, NewerFormatIsRefusedWithBothVersions) {
  Open();
  Write(path_ + "/FORMAT", "evoke-data 2\n");
  const absl::Status status = DataDir::Open(path_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 2, this program reads 1"));
}

TEST_F(DataDirTest, DamagedFormatIsDataLoss) {
  Open();
  for (const std::string text :
       {"", "evoke-data 1", "evoke-data x\n", "evoke-data 0\n", "evoke-data  1\n", "evoke-data +1\n", "something else\n"}) {
    Write(path_ + "/FORMAT", text);
    EXPECT_TRUE(absl::IsDataLoss(DataDir::Open(path_).status())) << text;
  }
}

TEST_F(DataDirTest, FolderWithFilesOfOthersIsNotTouched) {
  fs::create_directories(path_ + "/tmp");
  Write(path_ + "/tmp/thesis.txt", "irreplaceable");
  EXPECT_TRUE(absl::IsFailedPrecondition(DataDir::Open(path_).status()));
  EXPECT_TRUE(fs::exists(path_ + "/tmp/thesis.txt"));
}

TEST_F(DataDirTest, CrashBeforeFormatWasPublishedIsMadeGood) {
  fs::create_directories(path_ + "/tmp");
  Write(path_ + "/LOCK", "");
  Write(path_ + "/tmp/FORMAT", "evoke-d");
  EXPECT_NE(Open(), nullptr);
  EXPECT_EQ(ReadFile(path_ + "/FORMAT").value(), "evoke-data 1\n");
}

TEST_F(DataDirTest, TmpIsEmptiedAtStartAndMemoriesAreNot) {
  auto dir = Open();
  ASSERT_TRUE(dir->MakeMemoryFolder(UidOf(1)).ok());
  ASSERT_TRUE(dir->MakeMemoryFolder(UidOf(1)).ok()) << "again";
  fs::create_directories(dir->TmpPath("half/way"));
  fs::create_directory_symlink(dir->MemoryFolder(UidOf(1)), dir->TmpPath("link"));
  dir.reset();
  dir = Open();
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
  EXPECT_TRUE(fs::exists(dir->MemoryFolder(UidOf(1)))) << "a link is removed, not what it names";
}

TEST_F(DataDirTest, RemovesOneMemoryFolderWhole) {
  auto dir = Open();
  EXPECT_TRUE(dir->RemoveMemoryFolder(UidOf(1)).ok()) << "not there";
  ASSERT_TRUE(dir->MakeMemoryFolder(UidOf(1)).ok());
  ASSERT_TRUE(dir->MakeMemoryFolder(UidOf(2)).ok());
  fs::create_directories(dir->StorePath(UidOf(1)));
  Write(dir->StorePath(UidOf(1)) + "/file", "x");
  ASSERT_TRUE(dir->RemoveMemoryFolder(UidOf(1)).ok());
  EXPECT_FALSE(fs::exists(dir->MemoryFolder(UidOf(1))));
  EXPECT_TRUE(fs::exists(dir->MemoryFolder(UidOf(2))));
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
}

class CatalogTest : public DataDirTest {
 protected:
  const std::vector<CatalogEntry> entries_{
      {.name = "faces", .uid = UidOf(1), .spec = std::string("\0spec", 5)},
      {.name = "words", .uid = UidOf(2), .state = CatalogEntry::State::kRemoved},
      {.name = "words", .uid = UidOf(3), .spec = "new"}};
};

TEST_F(CatalogTest, ComesBackAfterReopening) {
  auto dir = Open();
  EXPECT_TRUE(CatalogFile(dir.get()).Load()->empty());
  ASSERT_TRUE(CatalogFile(dir.get()).Store(entries_).ok());
  dir.reset();
  dir = Open();
  const auto loaded = CatalogFile(dir.get()).Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(*loaded, entries_);
  ASSERT_TRUE(CatalogFile(dir.get()).Store({}).ok());
  EXPECT_TRUE(CatalogFile(dir.get()).Load()->empty());
}

TEST_F(CatalogTest, EveryFlippedBitAndEveryTruncationIsDataLoss) {
  auto dir = Open();
  CatalogFile catalog(dir.get());
  ASSERT_TRUE(catalog.Store(entries_).ok());
  const std::string good = ReadFile(dir->CatalogPath()).value();
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    Write(dir->CatalogPath(), bad);
    ASSERT_TRUE(absl::IsDataLoss(catalog.Load().status())) << "bit " << bit;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    Write(dir->CatalogPath(), good.substr(0, size));
    ASSERT_TRUE(absl::IsDataLoss(catalog.Load().status())) << size << " bytes";
  }
}

TEST_F(CatalogTest, LostCatalogIsNotAnEmptyOne) {
  auto dir = Open();
  ASSERT_TRUE(dir->MakeMemoryFolder(UidOf(1)).ok());
  EXPECT_TRUE(absl::IsDataLoss(CatalogFile(dir.get()).Load().status()));
}

TEST_F(CatalogTest, RepeatedNamesAndUidsAreRefused) {
  auto dir = Open();
  CatalogFile catalog(dir.get());
  std::vector<CatalogEntry> bad = entries_;
  bad[0].name = "words";
  EXPECT_TRUE(absl::IsInvalidArgument(catalog.Store(bad)));
  bad = entries_;
  bad[0].uid = UidOf(2);
  EXPECT_TRUE(absl::IsInvalidArgument(catalog.Store(bad)));
}

}  // namespace
}  // namespace evoke
