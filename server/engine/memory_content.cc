#include "server/engine/memory_content.h"

#include <algorithm>
#include <numeric>

#include "server/base/status_macros.h"
#include "server/engine/await.h"
#include "server/memory/state_hash.h"

namespace evoke {

absl::StatusOr<std::unique_ptr<MemoryContent>> MemoryContent::Open(Executor& memory, const Options& options) {
  std::unique_ptr<MemoryContent> content(new MemoryContent(options));
  EVOKE_ASSIGN_OR_RETURN(content->at_, Await<ReaderReply>(memory, ReaderCall{}));
  content->reading_ = content->at_.reader != nullptr;
  EVOKE_RETURN_IF_ERROR(content->reading_ ? content->OrderStore(memory.spec().partitions)
                                          : content->CopyShards(memory));
  return content;
}

absl::Status MemoryContent::OrderStore(uint32_t partitions) {
  for (uint32_t p = 0; p < partitions; ++p) {
    EVOKE_RETURN_IF_ERROR(at_.reader->ScanPartition(Partition(p), [this](const SlotRow& row) {
      if (row.written_step.value > options_.after_step)
        order_.emplace_back(row.written_step.value, row.slot.value);
      return absl::OkStatus();
    }));
  }
  std::sort(order_.begin(), order_.end());
  return absl::OkStatus();
}

// A turn later than the one that told of the state: what it copies is the state, so its numbers count.
absl::Status MemoryContent::CopyShards(Executor& memory) {
  SlotsCall call{.keys = true, .payloads = options_.payloads};
  call.slots.resize(memory.spec().capacity);
  std::iota(call.slots.begin(), call.slots.end(), uint64_t{0});
  EVOKE_ASSIGN_OR_RETURN(SlotsReply copy, Await<SlotsReply>(memory, std::move(call)));
  at_.state = copy.state;
  at_.state_hash = {};
  at_.live_count = copy.slots.size();
  for (SlotAnswer& slot : copy.slots) {
    const SlotState& s = slot.content.state;
    at_.state_hash += SlotHash(s.slot, s.value, s.written_step, s.hits, slot.content.key);
    if (s.written_step <= options_.after_step) continue;
    ImportRow row{.slot = s.slot,
                  .value = s.value,
                  .written_step = s.written_step,
                  .hits = s.hits,
                  .key = std::move(slot.content.key)};
    for (Payload& p : slot.payloads) row.payloads.push_back({p.place, p.step, std::move(p.bytes)});
    rows_.push_back(std::move(row));
  }
  std::sort(rows_.begin(), rows_.end(),
            [](const ImportRow& a, const ImportRow& b) { return a.written_step < b.written_step; });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ImportRow>> MemoryContent::Next(size_t count) {
  count = std::min<size_t>(count, rows() - next_);
  std::vector<ImportRow> rows;
  if (reading_) {
    EVOKE_ASSIGN_OR_RETURN(rows, ReadRows(count));
  } else {
    const auto begin = rows_.begin() + next_;
    rows.assign(std::make_move_iterator(begin), std::make_move_iterator(begin + count));
  }
  next_ += count;
  return rows;
}

absl::StatusOr<std::vector<ImportRow>> MemoryContent::ReadRows(size_t count) const {
  std::vector<ImportRow> rows;
  std::vector<SlotId> slots;
  for (size_t i = next_; i < next_ + count; ++i) slots.push_back(SlotId(order_[i].second));
  EVOKE_RETURN_IF_ERROR(at_.reader->ReadSlots(slots, [&](const SlotRow& row) {
    rows.push_back({.slot = row.slot.value,
                    .value = row.value,
                    .written_step = row.written_step.value,
                    .hits = row.hits,
                    .key = {row.key.begin(), row.key.end()}});
    return absl::OkStatus();
  }));
  if (!options_.payloads) return rows;
  std::vector<SlotPayloads> payloads;
  for (const ImportRow& row : rows) payloads.push_back({SlotId(row.slot), row.hits, {}});
  EVOKE_RETURN_IF_ERROR(at_.reader->ReadPayloads(absl::MakeSpan(payloads)));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (Payload& p : payloads[i].payloads) rows[i].payloads.push_back({p.place, p.step, std::move(p.bytes)});
  }
  return rows;
}

}  // namespace evoke
