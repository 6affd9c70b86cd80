// Every live key is looked at, in half its bytes: the certified scan (certified_scan.h), exact, and the default.
//
// Keeps two numbers about the keys and nothing else. Upsert costs one pass over the vectors that changed. Threads: as
// Index.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "server/index/certified_scan.h"
#include "server/index/index.h"

namespace evoke {

class FlatIndex final : public Index {
 public:
  explicit FlatIndex(Parallel parallel) : parallel_(std::move(parallel)) {}

  std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                   absl::Span<const uint32_t> want) override;
  void Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Erase(absl::Span<const uint32_t>) override {}
  void Rebuild(const KeyMatrixView& keys) override;

  bool exact() const override { return true; }
  std::string_view name() const override { return "flat"; }
  uint64_t MemoryBytes() const override { return 0; }
  IndexStats stats() const override { return stats_; }

 private:
  const Parallel parallel_;
  // Of every key since Rebuild, live or not: those that are not are read too, beyond the ends of their neighbors.
  KeyRounding rounding_;
  IndexStats stats_;
};

}  // namespace evoke
