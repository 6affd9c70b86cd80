// Every live key is looked at with the canonical similarity: exact, without any state of its own.
//
// The oracle that other indexes are tested against. Cost of a search: CanonicalScan's.
// Threads: as Index.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "server/index/index.h"

namespace evoke {

class CanonicalIndex final : public Index {
 public:
  explicit CanonicalIndex(Parallel parallel) : parallel_(std::move(parallel)) {}

  std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                   absl::Span<const uint32_t> want) override;
  void Upsert(const KeyMatrixView&, absl::Span<const uint32_t>) override {}
  void Erase(absl::Span<const uint32_t>) override {}
  void Rebuild(const KeyMatrixView&) override {}

  bool exact() const override { return true; }
  std::string_view name() const override { return "canonical"; }
  uint64_t MemoryBytes() const override { return 0; }
  IndexStats stats() const override { return stats_; }

 private:
  const Parallel parallel_;
  IndexStats stats_;
};

}  // namespace evoke
