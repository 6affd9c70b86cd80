// What each live slot of a shard holds: key, value, written step, hits.
//
// Struct of arrays by position, allocated once for the whole capacity; pages that were never written take no
// RAM. The key matrix is what every search reads: [capacity, dim] float32, row-major, without padding, in two planes
// of 16 bits each (server/similarity/split_vector.h), so that a scan which only proposes reads the higher one alone.
// Pointers to keys stay valid as long as the table; contents change only by Set. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/memory/mapped_array.h"
#include "server/similarity/split_vector.h"

namespace evoke {

struct SlotFields {
  int64_t value = 0;
  uint64_t written_step = 0;
  uint32_t hits = 0;
};

class SlotTable {
 public:
  // RESOURCE_EXHAUSTED when there is not enough address space.
  static absl::StatusOr<SlotTable> Create(uint32_t capacity, uint32_t dim);

  // Effect: the position is live and holds this. Requires: key.size() == dim.
  void Set(uint32_t position, const SlotFields& fields, absl::Span<const float> key);
  // Effect: the position is free. Its key stays readable, as nobody's.
  void Unset(uint32_t position);
  void Clear();

  uint32_t capacity() const { return capacity_; }
  uint32_t dim() const { return dim_; }
  uint32_t live_count() const { return live_count_; }
  // Positions from here on have not been live since Create or Clear.
  uint32_t rows() const { return rows_; }

  bool IsLive(uint32_t position) const { return live_[position >> 6] >> (position & 63) & 1; }
  SlotFields fields(uint32_t position) const {
    return {values_[position], written_steps_[position], hits_[position]};
  }
  uint64_t written_step(uint32_t position) const { return written_steps_[position]; }
  SplitVector key(uint32_t position) const { return keys().row(position); }
  // The key itself: out[dim()].
  void ReadKey(uint32_t position, float* out) const { Join(key(position), static_cast<int>(dim_), out); }
  std::vector<float> CopyKey(uint32_t position) const;

  // The high plane may be read for kReadable components beyond the end of any row: numbers, of nobody's.
  static constexpr size_t kReadable = 64;
  SplitMatrixView keys() const { return {high_.data(), low_.data(), dim_}; }
  // (capacity + 63) / 64 words; bit i & 63 of word i >> 6.
  const uint64_t* live_words() const { return live_.data(); }

  // Of the rows that were ever live; the rest is address space only.
  uint64_t MemoryBytes() const;
  static uint64_t PlannedBytes(uint64_t capacity, uint32_t dim);  // when every row was live
  uint64_t rows_touched() const { return rows_touched_; }

 private:
  SlotTable(uint32_t capacity, uint32_t dim);

  uint32_t capacity_;
  uint32_t dim_;
  MappedArray<uint16_t> high_;
  MappedArray<int16_t> low_;
  MappedArray<int64_t> values_;
  MappedArray<uint64_t> written_steps_;
  MappedArray<uint32_t> hits_;
  MappedArray<uint64_t> live_;
  uint32_t live_count_ = 0;
  uint32_t rows_ = 0;
  uint64_t rows_touched_ = 0;
};

}  // namespace evoke
