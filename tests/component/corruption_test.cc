// Damage on the disk, and a clock that jumps: found, named and confined; and nothing that is stored knows of time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "server/engine/alarms.h"
#include "storage/key_layout.h"
#include "tests/component/faulty_memory.h"

namespace evoke::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Changes a byte of the first row of a kind, past all our code: its checksum no longer holds, RocksDB's do.
void DamageFirstRow(const FaultyMemory& memory, RowKind kind) {
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open({}, memory.store_path(), &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::string key, value;
  {
    const std::unique_ptr<rocksdb::Iterator> rows(db->NewIterator({}));
    rows->Seek(KeyLayout::All(kind).begin);
    ASSERT_TRUE(rows->Valid());
    key = rows->key().ToString();
    value = rows->value().ToString();
  }
  value[value.size() / 2] ^= 0x10;
  ASSERT_TRUE(db->Put({}, key, value).ok());
}

class CorruptionTest : public ::testing::Test {
 protected:
  void TrainAndDamage(RowKind kind) {
    memory.Start();
    for (int i = 0; i < 20; ++i) ASSERT_EQ(memory.Train(), "OK");
    memory.Stop();
    DamageFirstRow(memory, kind);
    memory.Open();
  }
  FaultyMemory memory{{}};
};

TEST_F(CorruptionTest, ADamagedSlotRowFailsItsMemoryAndIsNamed) {
  TrainAndDamage(RowKind::kSlot);
  const MemoryFigures figures = memory.executor()->figures();
  EXPECT_EQ(figures.state, MemoryState::kFailed);
  EXPECT_THAT(std::string(figures.why.message()), ContainsRegex("slot [0-9]+: checksum does not hold"));
  EXPECT_EQ(AlarmOf(figures), kCorruptAlarm);
  EXPECT_EQ(memory.Train(), "CORRUPT_MEMORY");
  EXPECT_EQ(memory.Query(), "CORRUPT_MEMORY");
  for (int i = 0; i < 100; ++i) memory.clock().Advance(absl::Seconds(30));
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kFailed) << "damage does not go by waiting";
}

TEST_F(CorruptionTest, ADamagedSessionRowFailsItsMemory) {
  TrainAndDamage(RowKind::kSession);
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kFailed);
  EXPECT_EQ(memory.Query(), "CORRUPT_MEMORY");
}

TEST_F(CorruptionTest, ADamagedPayloadRowFailsTheReadsOfItAlone) {
  TrainAndDamage(RowKind::kPayload);
  EXPECT_EQ(memory.Query(/*payloads=*/true), "CORRUPT_ROW");
  EXPECT_EQ(memory.Query(), "OK");
  EXPECT_EQ(memory.Train(), "OK");
  EXPECT_EQ(AlarmOf(memory.executor()->figures()), "");
}

TEST_F(CorruptionTest, ADamagedReplyRowFailsTheRetryThatAsksForItAlone) {
  TrainAndDamage(RowKind::kReply);
  EXPECT_EQ(memory.Resend(), "CORRUPT_ROW");
  EXPECT_EQ(memory.Query(/*payloads=*/true), "OK");
  EXPECT_EQ(memory.Train(), "OK");
}

TEST(CompactionTest, ABitThatACompactionFindsFlippedFailsThatMemoryAndNoOther) {
  FaultyMemory damaged({.flush_often = true}), whole({.seed = 2, .flush_often = true});
  damaged.Start();
  whole.Start();
  // The first of two table files is whole, and four are a compaction.
  while (damaged.Files(".sst").size() < 2) ASSERT_EQ(damaged.Train(), "OK");
  FaultFileSystem::FlipBit(damaged.Files(".sst")[0], 50);
  std::string answer = "OK";
  for (int i = 0; i < 500 && answer == "OK"; ++i) answer = damaged.Train();
  ASSERT_EQ(answer, "COMMIT_UNKNOWN");
  damaged.AwaitState(MemoryState::kFailed);
  EXPECT_EQ(damaged.Query(), "CORRUPT_MEMORY");
  EXPECT_EQ(damaged.Train(), "CORRUPT_MEMORY");
  EXPECT_THAT(std::string(damaged.executor()->figures().why.message()), HasSubstr(".sst"));
  EXPECT_EQ(AlarmOf(damaged.executor()->figures()), kCorruptAlarm);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(whole.Train(), "OK");
  whole.ExpectStateOfSomeTurnFrom(20);
}

TEST(ClockJumpTest, NothingThatIsStoredOrAnsweredDependsOnTheClock) {
  FaultyMemory memory({});
  for (const int hours : {0, 3, -5, 24 * 400, -24 * 800}) {
    SCOPED_TRACE(hours);
    memory.clock().Advance(absl::Hours(hours));
    memory.Start();
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(memory.Train(), "OK");
      memory.clock().Advance(-absl::Hours(1));
      EXPECT_EQ(memory.Resend(), "OK");
    }
    memory.ExpectStateOfSomeTurnFrom(memory.acknowledged());
    memory.Stop();
  }
}

}  // namespace
}  // namespace evoke::testing
