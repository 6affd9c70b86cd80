#include "server/engine/self_audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tests/testing/manual_clock.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InlineScheduler final : public Scheduler {
 public:
  void Post(Work work) override { work(); }
};

// A store whose rows cannot be read when a test says so.
class Rows final : public SlotStore {
 public:
  absl::Status ScanBlocks(Partition, uint64_t, uint64_t,
                          const std::function<absl::Status(const SlotRow&)>&) const override {
    return status;
  }
  absl::Status Commit(absl::Span<const TurnRecord* const>) override { return absl::OkStatus(); }
  Turn AppliedTurn() const override { return {}; }
  absl::StatusOr<MetaRow> ReadMeta() const override { return MetaRow(); }
  absl::Status ScanPartition(Partition, const std::function<absl::Status(const SlotRow&)>&) const override {
    return absl::OkStatus();
  }
  absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>&) const override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadReply(const SessionId&, uint64_t) const override { return ""; }
  absl::Status ReadPayloads(absl::Span<SlotPayloads>) const override { return absl::OkStatus(); }
  absl::Status ReadRecords(Turn, const std::function<absl::Status(const DecodedTurn&)>&) const override {
    return absl::OkStatus();
  }
  Turn FirstKeptTurn() const override { return {}; }
  absl::Status TruncateRecordsBefore(Turn) override { return absl::OkStatus(); }
  absl::StatusOr<Turn> Checkpoint(const std::string&) override { return Turn(); }
  uint64_t ApproximateBytes() const override { return 0; }

  absl::Status status;
};

class SelfAuditTest : public ::testing::Test {
 protected:
  // The slots that were asked for during a second.
  std::vector<uint64_t> RunSecond(SelfAudit* audit) {
    clock_.Advance(absl::Seconds(1));
    audit->Grant(clock_.Now());
    std::vector<uint64_t> asked;
    while (audit->due()) {
      bool done = false;
      audit->RunSlice({.store = &rows,
                       .io = &scheduler_,
                       .strand = &strand_,
                       .ask =
                           [&](AuditRequest request, Shard::Done<AuditAnswer> answer) {
                             for (uint64_t b = 0; b < request.blocks; ++b) {
                               asked.push_back((request.first_block + b) * partitions + request.partition.value);
                             }
                             has_rows = request.rows.has_value();
                             answer(next);
                           }},
                      [&] { done = true; });
      EXPECT_TRUE(done);
      next = AuditAnswer{.looked = true};
    }
    return asked;
  }
  // Runs until so many passes are over.
  void RunPasses(SelfAudit* audit, uint64_t passes) {
    while (audit->figures().passes < passes) RunSecond(audit);
  }

  uint32_t partitions = 4;
  Rows rows;
  AuditAnswer next{.looked = true};  // to the next slice; then again "nothing found"
  bool has_rows = false;

 private:
  InlineScheduler scheduler_;
  Strand strand_{&scheduler_};
  testing::ManualClock clock_;
};

TEST_F(SelfAuditTest, APassLooksAtEverySlotOnceAtABoundedRate) {
  SelfAudit audit({.capacity = 3001, .partitions = 4, .slots_per_second = 1000});
  std::map<uint64_t, int> seen;
  int seconds = 0;
  while (audit.figures().passes == 0) {
    const std::vector<uint64_t> asked = RunSecond(&audit);
    EXPECT_LE(asked.size(), 1000u);
    for (const uint64_t slot : asked) ++seen[slot];
    ASSERT_LE(++seconds, 5);
  }
  EXPECT_EQ(seen.size(), 3001u);
  EXPECT_EQ(seen.rbegin()->first, 3000u);
  for (const auto& [slot, times] : seen) EXPECT_EQ(times, 1) << slot;
  EXPECT_EQ(audit.figures().slots, 3001u);
  EXPECT_GE(seconds, 4);
}

TEST_F(SelfAuditTest, NothingIsDueBeforeASecondHasPassedOrWhenItIsOff) {
  SelfAudit audit({.capacity = 100, .slots_per_second = 1000});
  EXPECT_FALSE(audit.due());
  SelfAudit off({.capacity = 100, .slots_per_second = 0});
  EXPECT_THAT(RunSecond(&off), IsEmpty());
}

TEST_F(SelfAuditTest, ASmallMemoryIsNotLookedAtAgainAndAgain) {
  partitions = 1;
  SelfAudit audit({.capacity = 10, .slots_per_second = 1000});
  size_t asked = 0;
  for (int second = 0; second < 120; ++second) asked += RunSecond(&audit).size();
  EXPECT_EQ(asked, 20u);  // once a minute
}

TEST_F(SelfAuditTest, ACleanPassCountsNothing) {
  SelfAudit audit({.capacity = 100, .partitions = 4, .slots_per_second = 1000});
  RunPasses(&audit, 2);
  EXPECT_TRUE(has_rows);
  EXPECT_EQ(audit.figures().index_differences + audit.figures().store_differences, 0u);
  EXPECT_THAT(audit.figures().corrupt, IsEmpty());
}

TEST_F(SelfAuditTest, ADifferenceIsCountedAndStaysCorruptUntilAWholePassIsClean) {
  SelfAudit audit({.capacity = 100, .partitions = 4, .slots_per_second = 1000});
  next.index_differs = {3, 7};
  RunPasses(&audit, 1);
  EXPECT_EQ(audit.figures().index_differences, 2u);
  EXPECT_EQ(audit.figures().store_differences, 0u);
  EXPECT_THAT(audit.figures().corrupt, HasSubstr("slots 3, 7 and was repaired"));
  RunPasses(&audit, 2);
  EXPECT_THAT(audit.figures().corrupt, IsEmpty());
  next.store_differs = {5};
  RunPasses(&audit, 3);
  EXPECT_EQ(audit.figures().store_differences, 1u);
  EXPECT_THAT(audit.figures().corrupt, HasSubstr("slots 5; nothing was changed: restore from a snapshot"));
}

TEST_F(SelfAuditTest, ADamagedRowIsADifferenceAndTheIndexIsComparedAllTheSame) {
  SelfAudit audit({.capacity = 10, .partitions = 1, .slots_per_second = 1000});
  rows.status = absl::DataLossError("slot 3: checksum does not hold");
  next.index_differs = {9};
  RunPasses(&audit, 1);
  EXPECT_FALSE(has_rows);
  EXPECT_EQ(audit.figures().store_differences, 1u);
  EXPECT_EQ(audit.figures().index_differences, 1u);
}

TEST_F(SelfAuditTest, APassThatCouldNotReadEverythingClearsNothing) {
  SelfAudit audit({.capacity = 10, .partitions = 1, .slots_per_second = 1000});
  next.index_differs = {9};
  RunPasses(&audit, 1);
  rows.status = absl::UnavailableError("the store is closed");
  RunPasses(&audit, 2);
  EXPECT_FALSE(audit.figures().corrupt.empty());
  rows.status = absl::OkStatus();
  next.looked = false;
  RunPasses(&audit, 3);
  EXPECT_FALSE(audit.figures().corrupt.empty());
  RunPasses(&audit, 4);
  EXPECT_THAT(audit.figures().corrupt, IsEmpty());
  EXPECT_EQ(audit.figures().store_differences, 0u);
}

}  // namespace
}  // namespace evoke
