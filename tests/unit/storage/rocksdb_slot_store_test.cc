#include "storage/rocksdb_slot_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "storage/key_layout.h"
#include "storage/store_figures.h"
#include "tests/unit/storage/store_matchers.h"

namespace evoke {
namespace {

namespace fs = std::filesystem;
using testing::CommitOne;
using testing::ExpectHolds;
using ::testing::HasSubstr;
using testing::SessionOf;
using testing::TestFolder;
using testing::TurnBuilder;
using testing::UidOf;

class RocksDbSlotStoreTest : public ::testing::Test {
 protected:
  RocksDbSlotStore::Options OptionsAt(const std::string& path) const {
    const MetaRow& meta = builder_.model().meta;
    return {.path = path,
            .uid = meta.uid,
            .key_dim = builder_.geometry().key_dim,
            .partitions = builder_.geometry().partitions,
            .payload_history = builder_.geometry().payload_history,
            .durability = Durability::kWal,
            .spec_digest = meta.spec_digest,
            .create = true};
  }
  RocksDbSlotStore::Options options() const { return OptionsAt(path_); }

  std::unique_ptr<RocksDbSlotStore> Open(RocksDbSlotStore::Options options) {
    auto store = RocksDbSlotStore::Open(std::move(options));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  // The database as bytes, past all our code.
  void Tamper(const std::function<void(rocksdb::DB*)>& change) {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, path_, &db).ok());
    const std::unique_ptr<rocksdb::DB> closer(db);
    change(db);
  }

  static absl::Status ScanAll(const RocksDbSlotStore& store, uint32_t partitions) {
    for (uint32_t p = 0; p < partitions; ++p) {
      const absl::Status s =
          store.ScanPartition(Partition(p), [](const SlotRow&) { return absl::OkStatus(); });
      if (!s.ok()) return s;
    }
    return absl::OkStatus();
  }

  TestFolder folder_;
  const std::string path_ = folder_ / "store";
  TurnBuilder builder_;
};

TEST_F(RocksDbSlotStoreTest, HoldsTheSameAfterEveryReopening) {
  auto store = Open(options());
  for (int turn = 1; turn <= 60; ++turn) {
    ASSERT_TRUE(CommitOne(store.get(), turn == 40 ? builder_.Clear() : builder_.Next()).ok());
    if (turn % 7 != 0) continue;
    store.reset();
    RocksDbSlotStore::Options again = options();
    again.create = turn % 2 == 0;
    again.durability = turn % 3 == 0 ? Durability::kFsync : Durability::kWal;
    store = Open(again);
    ASSERT_NE(store, nullptr);
    ExpectHolds(*store, builder_, builder_.model(), true);
  }
}

TEST_F(RocksDbSlotStoreTest, RecordsComeBackInOrderAndAGapIsSaid) {
  auto store = Open(options());
  std::vector<TurnRecord> turns;
  for (int i = 0; i < 30; ++i) {
    turns.push_back(builder_.Next());
    ASSERT_TRUE(CommitOne(store.get(), turns.back()).ok());
  }
  EXPECT_EQ(store->FirstKeptTurn(), Turn(1));
  std::vector<TurnRecord> read;
  Hash128 chain;
  const auto take = [&](const DecodedTurn& turn) {
    read.push_back(turn.record);
    chain = turn.chain;
    return absl::OkStatus();
  };
  ASSERT_TRUE(store->ReadRecords(Turn(11), take).ok());
  EXPECT_EQ(read, std::vector<TurnRecord>(turns.begin() + 10, turns.end()));
  EXPECT_EQ(chain, builder_.model().meta.chain);

  ASSERT_TRUE(store->TruncateRecordsBefore(Turn(12)).ok());
  EXPECT_EQ(store->FirstKeptTurn(), Turn(12));
  EXPECT_TRUE(absl::IsOutOfRange(store->ReadRecords(Turn(11), take)));
  EXPECT_TRUE(absl::IsOutOfRange(store->ReadRecords(Turn(0), take)));
  EXPECT_TRUE(absl::IsOutOfRange(store->ReadRecords(Turn(32), take)));
  read.clear();
  EXPECT_TRUE(store->ReadRecords(Turn(31), take).ok());
  EXPECT_TRUE(read.empty()) << "31 is the next one";

  store.reset();
  store = Open(options());
  EXPECT_EQ(store->FirstKeptTurn(), Turn(12));
  ASSERT_TRUE(store->ReadRecords(Turn(12), take).ok());
  EXPECT_EQ(read.size(), 19u);
  const auto stop = [](const DecodedTurn&) { return absl::CancelledError("enough"); };
  EXPECT_TRUE(absl::IsCancelled(store->ReadRecords(Turn(12), stop)));
}

TEST_F(RocksDbSlotStoreTest, RecordsAreKeptByCountAndByBytes) {
  const auto rows = [&] {
    int count = 0;
    Tamper([&](rocksdb::DB* db) {
      const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
      for (it->Seek(KeyLayout::All(RowKind::kRecord).begin); it->Valid(); it->Next()) ++count;
    });
    return count;
  };
  RocksDbSlotStore::Options limited = options();
  limited.keep_records_count = 10;
  auto store = Open(limited);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  EXPECT_EQ(store->FirstKeptTurn(), Turn(31));
  store.reset();
  EXPECT_EQ(rows(), 10);

  limited.keep_records_count = 1000;
  limited.keep_records_bytes = 4000;
  store = Open(limited);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  uint64_t bytes = 0;
  ASSERT_TRUE(store
                  ->ReadRecords(store->FirstKeptTurn(),
                                [&](const DecodedTurn& turn) {
                                  bytes += EncodeTurnRecord(turn.record).bytes.size();
                                  return absl::OkStatus();
                                })
                  .ok());
  EXPECT_LE(bytes, 4000u);
  EXPECT_GE(bytes, 2500u);
  const uint64_t kept = 81 - store->FirstKeptTurn().value;
  store.reset();
  EXPECT_EQ(rows(), static_cast<int>(kept));

  limited.keep_records_count = 0;
  store = Open(limited);
  ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  EXPECT_EQ(store->FirstKeptTurn(), Turn(82)) << "none is kept";
  store.reset();
  EXPECT_EQ(rows(), 0);
}

TEST_F(RocksDbSlotStoreTest, ChangedSlotRowIsDataLossThatNamesTheSlot) {
  auto store = Open(options());
  ASSERT_TRUE(CommitOne(store.get(), builder_.One(6, false, "p")).ok());
  store.reset();
  Tamper([&](rocksdb::DB* db) {
    const std::string key = KeyLayout(builder_.geometry().partitions).Slot(SlotId(6));
    std::string value;
    ASSERT_TRUE(db->Get({}, key, &value).ok());
    value[10] ^= 4;
    ASSERT_TRUE(db->Put({}, key, value).ok());
  });
  store = Open(options());
  const absl::Status status = ScanAll(*store, builder_.geometry().partitions);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("slot 6: checksum"));
}

TEST_F(RocksDbSlotStoreTest, BlocksOfAPartitionAreReadAloneAndVerified) {
  auto store = Open(options());
  for (const uint64_t slot : {2, 6, 10, 14, 7}) ASSERT_TRUE(CommitOne(store.get(), builder_.One(slot, false, "p")).ok());
  const auto scan = [&](uint64_t first, uint64_t blocks) {  // of slots 2, 6, 10, ...
    std::vector<uint64_t> seen;
    const absl::Status status = store->ScanBlocks(Partition(2), first, blocks, [&](const SlotRow& row) {
      seen.push_back(row.slot.value);
      return absl::OkStatus();
    });
    return status.ok() ? seen : std::vector<uint64_t>{999};
  };
  EXPECT_THAT(scan(1, 2), ::testing::ElementsAre(6, 10));
  EXPECT_THAT(scan(0, 100), ::testing::ElementsAre(2, 6, 10, 14));
  store.reset();
  Tamper([&](rocksdb::DB* db) {
    const std::string key = KeyLayout(builder_.geometry().partitions).Slot(SlotId(10));
    std::string value;
    ASSERT_TRUE(db->Get({}, key, &value).ok());
    value[10] ^= 4;
    ASSERT_TRUE(db->Put({}, key, value).ok());
  });
  store = Open(options());
  EXPECT_THAT(scan(0, 2), ::testing::ElementsAre(2, 6));
  EXPECT_THAT(scan(2, 1), ::testing::ElementsAre(999));
}

TEST_F(RocksDbSlotStoreTest, FlippedByteOfATableFileIsDataLoss) {
  auto store = Open(options());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  store.reset();
  Tamper([](rocksdb::DB* db) { ASSERT_TRUE(db->CompactRange({}, nullptr, nullptr).ok()); });
  bool flipped = false;
  for (const auto& file : fs::directory_iterator(path_)) {
    if (file.path().extension() != ".sst") continue;
    std::fstream sst(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    sst.seekg(200);
    const char byte = static_cast<char>(sst.get());
    sst.seekp(200);
    sst.put(static_cast<char>(byte ^ 1));
    flipped = true;
  }
  ASSERT_TRUE(flipped);
  auto opened = RocksDbSlotStore::Open(options());
  const absl::Status status =
      opened.ok() ? ScanAll(**opened, builder_.geometry().partitions) : opened.status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(RocksDbSlotStoreTest, MissingTableFileIsDataLoss) {
  auto store = Open(options());
  ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  store.reset();
  Tamper([](rocksdb::DB* db) { ASSERT_TRUE(db->Flush({}).ok()); });
  for (const auto& file : fs::directory_iterator(path_)) {
    if (file.path().extension() == ".sst") fs::remove(file.path());
  }
  EXPECT_TRUE(absl::IsDataLoss(RocksDbSlotStore::Open(options()).status()));
}

TEST_F(RocksDbSlotStoreTest, StoreOfAnotherMemoryOrSpecIsRefused) {
  Open(options());
  RocksDbSlotStore::Options other = options();
  other.uid = UidOf(9);
  EXPECT_TRUE(absl::IsDataLoss(RocksDbSlotStore::Open(other).status()));
  other = options();
  other.spec_digest.low++;
  EXPECT_TRUE(absl::IsDataLoss(RocksDbSlotStore::Open(other).status()));
  other = options();
  other.partitions *= 2;
  EXPECT_TRUE(absl::IsDataLoss(RocksDbSlotStore::Open(other).status()));
}

TEST_F(RocksDbSlotStoreTest, OptionsThatMakeNoSenseAreRefused) {
  RocksDbSlotStore::Options bad = options();
  bad.durability = Durability::kMemory;
  EXPECT_TRUE(absl::IsInvalidArgument(RocksDbSlotStore::Open(bad).status()));
  bad = options();
  bad.key_dim = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(RocksDbSlotStore::Open(bad).status()));
  bad = options();
  bad.create = false;
  EXPECT_TRUE(absl::IsNotFound(RocksDbSlotStore::Open(bad).status()));
  EXPECT_FALSE(fs::exists(path_)) << "looking makes nothing";
}

TEST_F(RocksDbSlotStoreTest, KeyOfAnotherDimensionIsRefused) {
  auto store = Open(options());
  TurnRecord record = builder_.One(1, false, "x");
  record.writes[0].key.push_back(0);
  EXPECT_TRUE(absl::IsInvalidArgument(CommitOne(store.get(), record)));
}

TEST_F(RocksDbSlotStoreTest, ReadOnlyStoreAnswersAndRefusesToWrite) {
  auto store = Open(options());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  store.reset();
  const auto described = RocksDbSlotStore::Describe(path_);
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_TRUE(described->read_only);
  store = Open(*described);
  ASSERT_NE(store, nullptr);
  ExpectHolds(*store, builder_, builder_.model(), true);
  TurnBuilder next = builder_;
  EXPECT_TRUE(absl::IsFailedPrecondition(CommitOne(store.get(), next.Next())));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->TruncateRecordsBefore(Turn(5))));
  ExpectHolds(*store, builder_, builder_.model(), true);
}

TEST_F(RocksDbSlotStoreTest, CheckpointIsAStoreOfItsTurn) {
  auto store = Open(options());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  const TurnBuilder then = builder_;
  const auto turn = store->Checkpoint(folder_ / "copy");
  ASSERT_TRUE(turn.ok()) << turn.status();
  EXPECT_EQ(*turn, Turn(20));
  ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  EXPECT_FALSE(store->Checkpoint(folder_ / "copy").ok()) << "it exists";
  ExpectHolds(*Open(OptionsAt(folder_ / "copy")), then, then.model(), true);
  ExpectHolds(*store, builder_, builder_.model(), true);
}

TEST_F(RocksDbSlotStoreTest, DestroyLeavesNothing) {
  auto store = Open(options());
  ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  EXPECT_GT(store->ApproximateBytes(), 100u);
  store.reset();
  ASSERT_TRUE(RocksDbSlotStore::Destroy(path_).ok());
  EXPECT_FALSE(fs::exists(path_));
}

// Power loss tears the log anywhere: what is recovered is the state after a whole turn, and the turn says
// which.
TEST_F(RocksDbSlotStoreTest, TornLogRecoversToAWholeTurn) {
  auto store = Open(options());
  std::vector<TurnBuilder> after{builder_};
  for (int i = 0; i < 25; ++i) {
    ASSERT_TRUE(CommitOne(store.get(), i == 15 ? builder_.Clear() : builder_.Next()).ok());
    after.push_back(builder_);
  }
  store.reset();
  std::string log;
  for (const auto& file : fs::directory_iterator(path_)) {
    if (file.path().extension() == ".log" && file.file_size() > 0) log = file.path().filename().string();
  }
  const uint64_t size = fs::file_size(path_ + "/" + log);
  ASSERT_GT(size, 5000u);
  std::set<uint64_t> turns;
  for (int round = 0; round < 40; ++round) {
    const std::string torn = folder_ / ("torn" + std::to_string(round));
    fs::copy(path_, torn, fs::copy_options::recursive);
    const uint64_t keep = round == 0 ? size : 200 + builder_.Draw(size - 200);
    fs::resize_file(torn + "/" + log, keep);
    if (round % 2 == 1) fs::resize_file(torn + "/" + log, size);  // the lost tail reads as zeros
    const auto recovered = Open(OptionsAt(torn));
    ASSERT_NE(recovered, nullptr) << "a torn log is normal";
    const uint64_t turn = recovered->AppliedTurn().value;
    ASSERT_LT(turn, after.size());
    turns.insert(turn);
    ExpectHolds(*recovered, after[turn], after[turn].model(), true);
    // And it goes on from there.
    TurnBuilder next = after[turn];
    ASSERT_TRUE(CommitOne(recovered.get(), next.Next()).ok());
    ExpectHolds(*recovered, next, next.model(), true);
  }
  EXPECT_TRUE(turns.contains(25)) << "the whole log is the whole state";
  EXPECT_GT(turns.size(), 8u);
}

// Writes or syncs of log files fail while `broken`.
class BreakableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "breakable"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus s = target()->NewWritableFile(name, options, result, debug);
    if (s.ok() && name.ends_with(".log")) *result = std::make_unique<File>(std::move(*result), this);
    return s;
  }

  std::atomic<bool> write_fails{false};
  std::atomic<bool> sync_fails{false};

 private:
  class File : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSWritableFile> file, BreakableFileSystem* fs)
        : FSWritableFileOwnerWrapper(std::move(file)), fs_(fs) {}
    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      if (fs_->write_fails) return rocksdb::IOStatus::NoSpace("no space left, says the test");
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      if (fs_->sync_fails) return rocksdb::IOStatus::IOError("sync failed, says the test");
      return FSWritableFileOwnerWrapper::Sync(options, debug);
    }

   private:
    BreakableFileSystem* const fs_;
  };
};

TEST_F(RocksDbSlotStoreTest, FailedCommitClosesTheStoreAndTheDiskDecides) {
  const auto files = std::make_shared<BreakableFileSystem>(rocksdb::FileSystem::Default());
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  for (const bool sync : {false, true}) {
    RocksDbSlotStore::Options breakable = OptionsAt(folder_ / (sync ? "sync" : "write"));
    breakable.durability = Durability::kFsync;
    breakable.shared = RocksDbResources::Create({.env = env.get()});
    TurnBuilder builder;
    auto store = Open(breakable);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(CommitOne(store.get(), builder.Next()).ok());
    const TurnBuilder acknowledged = builder;
    TurnRecord lost = builder.Next();
    (sync ? files->sync_fails : files->write_fails) = true;
    const absl::Status failed = CommitOne(store.get(), lost);
    EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
    EXPECT_THAT(std::string(failed.message()), HasSubstr("says the test"));
    files->sync_fails = files->write_fails = false;

    EXPECT_EQ(CommitOne(store.get(), lost), failed) << "though the disk is well again";
    EXPECT_EQ(store->ReadMeta().status(), failed);
    EXPECT_EQ(ScanAll(*store, 1), failed);
    EXPECT_EQ(store->ScanSessions([](const SessionRow&) { return absl::OkStatus(); }), failed);
    EXPECT_EQ(store->ReadReply(SessionOf(1), 1).status(), failed);
    EXPECT_EQ(store->ReadPayloads({}), failed);
    EXPECT_EQ(store->ReadRecords(Turn(1), [](const DecodedTurn&) { return absl::OkStatus(); }), failed);
    EXPECT_EQ(store->TruncateRecordsBefore(Turn(2)), failed);
    EXPECT_EQ(store->Checkpoint(folder_ / "never").status(), failed);

    store.reset();
    store = Open(breakable);
    ASSERT_NE(store, nullptr);
    const TurnBuilder& found = store->AppliedTurn() == Turn(5) ? acknowledged : builder;
    ExpectHolds(*store, found, found.model(), true);
    ASSERT_TRUE(CommitOne(store.get(), lost).ok()) << "written, or passed over";
    ExpectHolds(*store, builder, builder.model(), true);
  }
}

TEST_F(RocksDbSlotStoreTest, DiskThatIsFullAtOpeningIsUnavailableAndReadOnlyStillWorks) {
  const auto files = std::make_shared<BreakableFileSystem>(rocksdb::FileSystem::Default());
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  auto store = Open(options());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  store.reset();
  RocksDbSlotStore::Options breakable = options();
  breakable.shared = RocksDbResources::Create({.env = env.get()});
  breakable.create = false;
  breakable.read_only = true;
  files->write_fails = true;
  store = Open(breakable);
  ASSERT_NE(store, nullptr);
  ExpectHolds(*store, builder_, builder_.model(), true);
}

TEST_F(RocksDbSlotStoreTest, MeterCountsTheLogAndItsSyncsAndOutlivesTheStore) {
  for (const Durability durability : {Durability::kFsync, Durability::kWal}) {
    RocksDbSlotStore::Options options = this->options();
    options.durability = durability;
    auto store = Open(options);
    const auto meter = store->Meter();
    const auto syncs = [&] {
      const DurationCounts counts = meter->Read().log_syncs;
      return std::accumulate(counts.counts.begin(), counts.counts.end(), uint64_t{0});
    };
    const uint64_t bytes_before = meter->Read().log_bytes, syncs_before = syncs();
    uint64_t turn_bytes = 0;
    for (int turn = 0; turn < 20; ++turn) {
      const TurnRecord record = builder_.Next();
      turn_bytes += EncodeTurnRecord(record).bytes.size();
      ASSERT_TRUE(CommitOne(store.get(), record).ok());
    }
    EXPECT_GT(meter->Read().log_bytes, bytes_before + turn_bytes);
    EXPECT_EQ(syncs() - syncs_before, durability == Durability::kFsync ? 20u : 0u);
    EXPECT_GT(meter->Read().memtable_bytes, 0u);
    const StoreFigures last = meter->Read();
    store.reset();
    EXPECT_EQ(meter->Read().memtable_bytes, 0u);
    EXPECT_GE(meter->Read().log_bytes, last.log_bytes);
  }
}

TEST_F(RocksDbSlotStoreTest, MeterTellsWhatBecameTableFiles) {
  auto store = Open(options());
  for (int turn = 0; turn < 20; ++turn) ASSERT_TRUE(CommitOne(store.get(), builder_.Next()).ok());
  ASSERT_TRUE(store->Checkpoint(folder_ / "copy").ok());  // flushes
  const auto meter = store->Meter();
  EXPECT_GT(meter->Read().table_bytes, 0u);
  EXPECT_EQ(meter->Read().level0_files, 1u);
  store.reset();  // waits for whoever tells the meter
  EXPECT_GT(meter->Read().flushed_bytes, 0u);
}

TEST_F(RocksDbSlotStoreTest, ReadersBesideCommitsSeeWholeTurns) {
  auto store = Open(options());
  // Every turn writes all of four slots of one partition, with the turn as value.
  const auto turn = [&] {
    TurnRecord record = builder_.WithSessions({});
    record.step_after = record.step_before = Step(0);
    for (uint64_t i = 0; i < 4; ++i) {
      record.writes.push_back({.slot = SlotId(4 * i),
                               .value = static_cast<int64_t>(record.turn.value),
                               .written_step = Step(i + 1),
                               .key = {1, 0, 0}});
    }
    return record;
  };
  Hash128 chain;
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      std::set<int64_t> values;
      ASSERT_TRUE(store
                      ->ScanPartition(Partition(0),
                                      [&](const SlotRow& row) {
                                        values.insert(row.value);
                                        return absl::OkStatus();
                                      })
                      .ok());
      ASSERT_LE(values.size(), 1u);
      const Turn last = store->AppliedTurn();
      uint64_t read = 0;
      ASSERT_TRUE(store
                      ->ReadRecords(Turn(1),
                                    [&](const DecodedTurn&) {
                                      ++read;
                                      return absl::OkStatus();
                                    })
                      .ok());
      ASSERT_GE(read, last.value);
      ASSERT_TRUE(store->ReadMeta().ok());
    }
  });
  for (int i = 0; i < 300; ++i) {
    TurnRecord record = turn();
    record.previous_chain = chain;
    chain = EncodeTurnRecord(record).chain;
    ASSERT_TRUE(CommitOne(store.get(), record).ok());
  }
  done = true;
  reader.join();
}

}  // namespace
}  // namespace evoke
