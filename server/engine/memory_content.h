// A whole memory at one turn, row by row in the order of written steps: what Export sends and a fork in RAM
// copies.
//
// A durable memory is read from its store while calls go on; 16 bytes a slot are held to order them. The
// slots of an ephemeral one are copied in one turn, and held.
//
// Thread-compatible; every call blocks. Failure: UNAVAILABLE when the memory closed or reloaded meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/executor.h"

namespace evoke {

class MemoryContent {
 public:
  struct Options {
    uint64_t after_step = 0;  // only slots written later
    bool payloads = true;
  };
  static absl::StatusOr<std::unique_ptr<MemoryContent>> Open(Executor& memory, const Options& options);

  const StateName& state() const { return at_.state; }
  const Hash128& state_hash() const { return at_.state_hash; }
  const Hash128& chain() const { return at_.chain; }
  uint64_t live_count() const { return at_.live_count; }
  // Rows that Next will give in all.
  uint64_t rows() const { return reading_ ? order_.size() : rows_.size(); }

  // Up to `count` more rows, the oldest first; none at the end.
  absl::StatusOr<std::vector<ImportRow>> Next(size_t count);

 private:
  explicit MemoryContent(const Options& options) : options_(options) {}
  absl::Status OrderStore(uint32_t partitions);
  absl::Status CopyShards(Executor& memory);
  absl::StatusOr<std::vector<ImportRow>> ReadRows(size_t count) const;

  const Options options_;
  ReaderReply at_;
  bool reading_ = false;                              // from the store
  std::vector<std::pair<uint64_t, uint64_t>> order_;  // written step, slot: ascending
  std::vector<ImportRow> rows_;
  size_t next_ = 0;
};

}  // namespace evoke
