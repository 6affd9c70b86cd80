// Logs that a power loss left with a hole: replay ends before it, at whichever border of two batches it begins.
#include "storage/rocksdb_whole_log.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "rocksdb/options.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/unit/storage/store_matchers.h"

namespace evoke {
namespace {

namespace fs = std::filesystem;
using testing::CommitOne;
using testing::ExpectHolds;
using testing::TestFolder;
using testing::TurnBuilder;

class WholeLogTest : public ::testing::Test {
 protected:
  struct Border {
    std::string log;  // the newest, and its size after the turn
    uint64_t size = 0;
    TurnBuilder after;
  };

  std::unique_ptr<RocksDbSlotStore> Open(const std::string& path) {
    const MetaRow& meta = first_.model().meta;
    auto store = RocksDbSlotStore::Open({.path = path,
                                         .uid = meta.uid,
                                         .key_dim = first_.geometry().key_dim,
                                         .partitions = first_.geometry().partitions,
                                         .payload_history = first_.geometry().payload_history,
                                         .durability = Durability::kWal,
                                         .spec_digest = meta.spec_digest,
                                         .create = true,
                                         .shared = shared_});
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  static std::set<std::string> Logs(const std::string& path) {
    std::set<std::string> logs;  // their names are numbers of one width
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".log") logs.insert(entry.path().filename());
    }
    return logs;
  }

  // `turns` turns, and where each ended. A memtable takes a handful of them; none is written to a table file.
  std::vector<Border> Train(RocksDbSlotStore* store, TurnBuilder builder, int turns) {
    std::vector<Border> borders;
    for (int i = 0; i < turns; ++i) {
      if (i % 5 == 3) {  // a batch that is no turn
        EXPECT_TRUE(store->TruncateRecordsBefore(builder.model().meta.turn).ok());
      }
      EXPECT_TRUE(CommitOne(store, i == turns / 2 ? builder.Clear() : builder.Next()).ok());
      const std::string log = *Logs(path_).rbegin();
      borders.push_back({log, fs::file_size(fs::path(path_) / log), builder});
    }
    return borders;
  }

  // What the store wrote about itself.
  static bool TellsOfAHole(const std::string& path) {
    std::ifstream log(fs::path(path) / "LOG");
    return std::string(std::istreambuf_iterator<char>(log), {}).find("The log has a hole") != std::string::npos;
  }

  // A copy that lost `log` from `size` on opens as `state`, goes on, and opens again.
  void ExpectEndsAt(TurnBuilder state, const std::string& log, std::optional<uint64_t> size) {
    SCOPED_TRACE(::testing::Message() << log << " cut at " << (size ? absl::StrCat(*size) : "its name") << ", turn "
                                      << state.model().meta.turn.value);
    const std::string copy = folder_ / "copy";
    fs::remove_all(copy);
    fs::copy(path_, copy);
    const fs::path cut = fs::path(copy) / log;
    size ? fs::resize_file(cut, *size) : static_cast<void>(fs::remove(cut));
    for (int opening = 0; opening < 2; ++opening) {
      auto store = Open(copy);
      ASSERT_NE(store, nullptr);
      EXPECT_EQ(TellsOfAHole(copy), log != *Logs(path_).rbegin());
      ExpectHolds(*store, state, state.model(), true);
      ASSERT_TRUE(CommitOne(store.get(), state.Next()).ok());
    }
  }

  const TurnBuilder first_ = TurnBuilder({.key_dim = 256});
  const std::shared_ptr<RocksDbResources> shared_ = [] {
    auto shared = RocksDbResources::Create({});
    shared->tune = [](rocksdb::Options* options) {
      options->write_buffer_size = 64 << 10;
      options->min_write_buffer_number_to_merge = 100;
      options->max_write_buffer_number = 200;
    };
    return shared;
  }();
  TestFolder folder_;
  const std::string path_ = folder_ / "store";
};

TEST_F(WholeLogTest, ReplayEndsWhereALogThatIsNotTheLastOneLostItsEnd) {
  auto store = Open(path_);
  const std::vector<Border> borders = Train(store.get(), first_, 40);
  ASSERT_GE(Logs(path_).size(), 4u);
  for (const Border& border : borders) {
    if (fs::file_size(fs::path(path_) / border.log) == border.size) continue;  // nothing would be lost
    ExpectEndsAt(border.after, border.log, border.size);
    ASSERT_FALSE(HasFailure());
  }
}

// Nothing is replayed then that a first batch could be compared with: only the tables tell.
TEST_F(WholeLogTest, ReplayEndsBeforeALogThatIsGone) {
  auto store = Open(path_);
  const std::vector<Border> flushed = Train(store.get(), first_, 12);
  store.reset();
  store = Open(path_);  // opening writes what it replayed to a table
  const std::vector<Border> borders = Train(store.get(), flushed.back().after, 40);
  const std::set<std::string> logs = Logs(path_);
  ASSERT_GE(logs.size(), 4u);
  for (const std::string& log : logs) {
    const auto in = std::find_if(borders.begin(), borders.end(), [&](const Border& b) { return b.log == log; });
    ASSERT_NE(in, borders.end());
    const TurnBuilder& before = in == borders.begin() ? flushed.back().after : (in - 1)->after;
    ExpectEndsAt(before, log, 0);
    ExpectEndsAt(before, log, std::nullopt);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(WholeLogTest, ReadingOnlyEndsAtTheSamePlace) {
  auto store = Open(path_);
  const std::vector<Border> borders = Train(store.get(), first_, 40);
  const std::string copy = folder_ / "copy";
  fs::copy(path_, copy);
  fs::resize_file(fs::path(copy) / borders[1].log, borders[1].size);
  auto options = RocksDbSlotStore::Describe(copy);
  ASSERT_TRUE(options.ok()) << options.status();
  auto read = RocksDbSlotStore::Open(*options);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->AppliedTurn(), borders[1].after.model().meta.turn);
}

}  // namespace
}  // namespace evoke
