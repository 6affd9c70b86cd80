#include "server/engine/self_audit.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"

namespace evoke {
namespace {

constexpr uint64_t kSliceSlots = 256;
// What a slice costs however few slots it has, so that a memory of many almost empty partitions is not all overhead.
constexpr uint64_t kMinCharge = 32;
constexpr absl::Duration kPassEvery = absl::Minutes(1);
constexpr size_t kNamedSlots = 16;  // in a message

std::string Name(const std::vector<uint64_t>& slots) {
  const std::vector<uint64_t> first(slots.begin(), slots.begin() + std::min(slots.size(), kNamedSlots));
  return absl::StrCat(absl::StrJoin(first, ", "), slots.size() > kNamedSlots ? ", ..." : "");
}

constexpr const char* kAdvice = "nothing was changed: restore from a snapshot, or restart to serve what is stored";

}  // namespace

void SelfAudit::Grant(absl::Time now) {
  allowance_ = options_.slots_per_second;
  if (!resting_ || now < pass_began_ + kPassEvery) return;
  resting_ = false;
  pass_clean_ = true;
  pass_began_ = now;
}

uint64_t SelfAudit::BlocksOf(uint64_t partition) const {
  return options_.capacity / options_.partitions + (partition < options_.capacity % options_.partitions ? 1 : 0);
}

void SelfAudit::RunSlice(Memory memory, std::function<void()> done) {
  auto request = std::make_shared<AuditRequest>();
  request->partition = Partition(partition_);
  request->first_block = block_;
  request->blocks = std::min({kSliceSlots, allowance_, BlocksOf(partition_) - block_});
  memory.io->Post([this, memory = std::move(memory), request, done = std::move(done)]() mutable {
    absl::Status read;
    if (memory.store != nullptr) {
      std::vector<SlotContent> rows;
      read = memory.store->ScanBlocks(request->partition, request->first_block, request->blocks, [&](const SlotRow& r) {
        rows.push_back({.state = {.slot = r.slot.value,
                                  .value = r.value,
                                  .written_step = r.written_step.value,
                                  .hits = r.hits},
                        .key = {r.key.begin(), r.key.end()}});
        return absl::OkStatus();
      });
      // Without all rows the index can still be compared.
      if (read.ok()) request->rows = std::move(rows);
    }
    memory.ask(*request, [this, strand = memory.strand, request, read,
                          done = std::move(done)](absl::StatusOr<AuditAnswer> answer) {
      strand->Post([this, request, read, answer = std::move(answer), done = std::move(done)] {
        Take(*request, read, answer);
        done();
      });
    });
  });
}

void SelfAudit::Take(const AuditRequest& request, const absl::Status& read, const absl::StatusOr<AuditAnswer>& answer) {
  if (absl::IsDataLoss(read)) {
    ++figures_.store_differences;
    Differs(absl::StrCat("a row of the store is damaged, ", read.message(), "; ", kAdvice));
  } else if (!read.ok()) {
    pass_clean_ = false;
  }
  if (answer.ok() && answer->looked) {
    figures_.slots += request.blocks;
    if (!answer->index_differs.empty()) {
      figures_.index_differences += answer->index_differs.size();
      Differs(absl::StrCat("the index differed from the keys of slots ", Name(answer->index_differs),
                           " and was repaired from them"));
    }
    if (!answer->store_differs.empty()) {
      figures_.store_differences += answer->store_differs.size();
      Differs(absl::StrCat("the store differs from what is served in slots ", Name(answer->store_differs), "; ",
                           kAdvice));
    }
  } else {
    pass_clean_ = false;
  }
  allowance_ -= std::min(allowance_, std::max(request.blocks, kMinCharge));
  block_ += request.blocks;
  while (block_ >= BlocksOf(partition_)) {
    block_ = 0;
    if (++partition_ < options_.partitions) continue;
    EndPass();
    break;
  }
}

void SelfAudit::Differs(const std::string& what) {
  pass_clean_ = false;
  figures_.corrupt = what;
  Log(LogLevel::kError, "what is served and what is stored differ, or the index did",
      {{LogKey::kMemory, options_.memory}, {LogKey::kDetail, what}});
}

void SelfAudit::EndPass() {
  ++figures_.passes;
  partition_ = 0;
  resting_ = true;
  if (pass_clean_) figures_.corrupt.clear();
}

}  // namespace evoke
