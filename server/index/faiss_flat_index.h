// Candidates from FAISS's IndexFlatIP, which multiplies matrices with BLAS; answers certified by the
// canonical similarity (certified_search.h). Exact.
//
// Keeps a copy of the keys, as long as the highest live position demands, overwritten in place; free
// positions hold zeros and are filtered. The copy lies in segments, which a search is spread over: OpenMP and
// BLAS are held to the calling thread.
//
// Threads: as Index. Failure: no exception leaves; when FAISS fails, or finds no memory for its copy, the
// canonical scan answers instead, and such rows count as uncertified.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/index/certified_search.h"
#include "server/index/index.h"
#include "server/index/index_factory.h"

namespace faiss {
struct IndexFlatIP;
}

namespace evoke {

class FaissFlatIndex final : public Index, private ScoreSource {
 public:
  explicit FaissFlatIndex(const IndexOptions& options);
  ~FaissFlatIndex() override;

  std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                   absl::Span<const uint32_t> want) override;
  void Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Erase(absl::Span<const uint32_t> positions) override;
  void Rebuild(const KeyMatrixView& keys) override;
  std::vector<uint32_t> Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const override;

  bool exact() const override { return true; }
  std::string_view name() const override { return "faiss_flat"; }
  uint64_t MemoryBytes() const override;
  static uint64_t PlannedBytes(const IndexOptions& options);
  IndexStats stats() const override { return stats_; }

 private:
  bool Score(const float* rows, size_t row_count, uint32_t ask,
             std::vector<std::vector<Scored>>* lists) override;
  double ErrorBound(const float* row) const override;
  size_t MaxCandidates() const override;

  struct Part;  // what one segment answered
  bool SearchSegment(size_t s, const float* rows, size_t row_count, uint32_t ask, Part* part) const;
  std::vector<Scored> BestOf(const std::vector<Part>& parts, size_t row, uint32_t ask) const;
  void Put(const KeyMatrixView& keys, uint32_t position);
  float* RowAt(uint32_t position);

  const uint32_t dim_;
  const uint32_t capacity_;
  const uint32_t segment_rows_;
  const Parallel parallel_;
  std::vector<std::unique_ptr<faiss::IndexFlatIP>> segments_;
  double key_norm_;     // upper bound of the norms of all keys since Rebuild
  bool usable_ = true;  // false: the copy is incomplete, until Rebuild
  IndexStats stats_;
};

}  // namespace evoke
