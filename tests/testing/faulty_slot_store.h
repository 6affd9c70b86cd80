// A SlotStore that fails when it is told to, over one that does not: the outcome of a failed commit can be either.
//
// Faults are shared by all stores opened over the same SharedFaults, so that a reload meets what a test set up.
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "storage/slot_store.h"

namespace evoke::testing {

struct SharedFaults {
  // kFailsAfter: the rows are there all the same; kFindsDamage: as a compaction does, in what recovery does not read
  enum class Commit { kWorks, kFailsBefore, kFailsAfter, kFindsDamage };
  std::atomic<Commit> next_commit{Commit::kWorks};          // taken back by the commit that it strikes
  std::atomic<bool> open_for_writing_fails{false};
  std::atomic<bool> payloads_are_damaged{false};
  std::atomic<bool> commits_wait{false};                    // a commit spins until it is false again
  std::atomic<int64_t> slot_with_other_value{-1};           // ScanBlocks tells another value of it: -1: of none
  std::atomic<bool> slots_are_damaged{false};               // ScanBlocks cannot read them
  std::atomic<int> commits{0};                              // so far
  std::atomic<int> fail_commit_number{0};                   // this one fails before it writes; counted from 1
};

class FaultySlotStore final : public SlotStore {
 public:
  FaultySlotStore(std::shared_ptr<SlotStore> store, std::shared_ptr<SharedFaults> faults)
      : store_(std::move(store)), faults_(std::move(faults)) {}

  absl::Status Commit(absl::Span<const TurnRecord* const> records) override {
    const int number = ++faults_->commits;
    while (faults_->commits_wait) std::this_thread::yield();
    if (!failed_.ok()) return failed_;
    const auto fault = faults_->next_commit.exchange(SharedFaults::Commit::kWorks);
    if (fault == SharedFaults::Commit::kFailsBefore || number == faults_->fail_commit_number) return failed_ = absl::UnavailableError("injected before");
    if (fault == SharedFaults::Commit::kFindsDamage) return failed_ = absl::DataLossError("injected: 000007.sst");
    const absl::Status status = store_->Commit(records);
    if (fault == SharedFaults::Commit::kFailsAfter) return failed_ = absl::UnavailableError("injected after");
    return status;
  }
  Turn AppliedTurn() const override { return store_->AppliedTurn(); }
  absl::StatusOr<MetaRow> ReadMeta() const override { return store_->ReadMeta(); }
  absl::Status ScanPartition(Partition p, const std::function<absl::Status(const SlotRow&)>& visit) const override {
    return store_->ScanPartition(p, visit);
  }
  absl::Status ScanBlocks(Partition p, uint64_t first, uint64_t blocks,
                          const std::function<absl::Status(const SlotRow&)>& visit) const override {
    if (faults_->slots_are_damaged) return absl::DataLossError("injected: slot row: checksum does not hold");
    return store_->ScanBlocks(p, first, blocks, [&](SlotRow row) {
      if (static_cast<int64_t>(row.slot.value) == faults_->slot_with_other_value) row.value ^= 1;
      return visit(row);
    });
  }
  absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const override {
    return store_->ScanSessions(visit);
  }
  absl::StatusOr<std::string> ReadReply(const SessionId& session, uint64_t number) const override {
    return store_->ReadReply(session, number);
  }
  absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const override {
    if (faults_->payloads_are_damaged) return absl::DataLossError("injected: a payload row is damaged");
    return store_->ReadPayloads(slots);
  }
  absl::Status ReadRecords(Turn from, const std::function<absl::Status(const DecodedTurn&)>& visit) const override {
    return store_->ReadRecords(from, visit);
  }
  Turn FirstKeptTurn() const override { return store_->FirstKeptTurn(); }
  absl::Status TruncateRecordsBefore(Turn turn) override { return store_->TruncateRecordsBefore(turn); }
  absl::StatusOr<Turn> Checkpoint(const std::string& dir) override { return store_->Checkpoint(dir); }
  uint64_t ApproximateBytes() const override { return store_->ApproximateBytes(); }

 private:
  const std::shared_ptr<SlotStore> store_;
  const std::shared_ptr<SharedFaults> faults_;
  absl::Status failed_;  // committing thread only: fails closed
};

}  // namespace evoke::testing
