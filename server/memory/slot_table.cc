#include "server/memory/slot_table.h"

#include <algorithm>
#include <cassert>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

uint64_t RowBytes(uint32_t dim) {
  return sizeof(float) * dim + sizeof(int64_t) + sizeof(uint64_t) + sizeof(uint32_t);
}

}  // namespace

// No padding between keys: at dim 1 a row padded to a cache line would take 16 times its size, and the
// canonical similarity gains nothing from alignment.
SlotTable::SlotTable(uint32_t capacity, uint32_t dim)
    : capacity_(capacity),
      dim_(dim),
      high_(size_t{capacity} * dim + kReadable, /*huge_pages=*/true),
      low_(size_t{capacity} * dim, /*huge_pages=*/true),
      values_(capacity),
      written_steps_(capacity),
      hits_(capacity),
      live_((size_t{capacity} + 63) / 64) {}

absl::StatusOr<SlotTable> SlotTable::Create(uint32_t capacity, uint32_t dim) {
  SlotTable table(capacity, dim);
  if (!table.high_.ok() || !table.low_.ok() || !table.values_.ok() || !table.written_steps_.ok() ||
      !table.hits_.ok() || !table.live_.ok()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the table of ", capacity, " slots x ", dim, " dimensions"));
  }
  return table;
}

void SlotTable::Set(uint32_t position, const SlotFields& fields, absl::Span<const float> key) {
  assert(position < capacity_ && key.size() == dim_);
  const size_t at = size_t{position} * dim_;
  Split(key.data(), static_cast<int>(dim_), high_.data() + at, low_.data() + at);
  values_[position] = fields.value;
  written_steps_[position] = fields.written_step;
  hits_[position] = fields.hits;
  if (!IsLive(position)) {
    live_[position >> 6] |= uint64_t{1} << (position & 63);
    ++live_count_;
    rows_ = std::max(rows_, position + 1);
  }
  ++rows_touched_;
}

std::vector<float> SlotTable::CopyKey(uint32_t position) const {
  std::vector<float> key(dim_);
  ReadKey(position, key.data());
  return key;
}

void SlotTable::Unset(uint32_t position) {
  assert(IsLive(position));
  live_[position >> 6] &= ~(uint64_t{1} << (position & 63));
  --live_count_;
  ++rows_touched_;
}

void SlotTable::Clear() {
  high_.Rezero();
  low_.Rezero();
  values_.Rezero();
  written_steps_.Rezero();
  hits_.Rezero();
  live_.Rezero();
  live_count_ = 0;
  rows_ = 0;
}

uint64_t SlotTable::MemoryBytes() const { return rows_ * RowBytes(dim_) + live_.bytes(); }

uint64_t SlotTable::PlannedBytes(uint64_t capacity, uint32_t dim) {
  return capacity * RowBytes(dim) + (capacity + 63) / 64 * sizeof(uint64_t);
}

}  // namespace evoke
