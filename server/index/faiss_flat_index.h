// Candidates from FAISS's IndexFlatIP, which multiplies matrices with BLAS; answers proven by the canonical similarity.
//
// Exact. FAISS's scores are float32 sums in an order of its own; each lies within eps (SgemmErrorBound) of the
// canonical similarity. A search asks for more candidates than are wanted and scores them again canonically. With t
// the worst FAISS score of them, no other key's canonical similarity is above t + eps: a row whose last wanted one
// exceeds that has missed nothing. Otherwise the row is asked again, for twice and four times as many; then the
// canonical scan answers it (near-ties by the thousand, exact ties across the cut).
//
// Keeps a copy of the keys, as long as the highest live position demands, overwritten in place; free positions hold
// zeros and are filtered. The copy lies in segments, which a search is spread over: OpenMP and BLAS are held to the
// calling thread.
//
// Threads: as Index. Failure: no exception leaves; when FAISS fails, or finds no memory for its copy, the canonical
// scan answers instead, and such rows count as uncertified.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/index/index.h"
#include "server/index/index_factory.h"

namespace faiss {
struct IndexFlatIP;
}

namespace evoke {

class FaissFlatIndex final : public Index {
 public:
  explicit FaissFlatIndex(const IndexOptions& options);
  ~FaissFlatIndex() override;

  std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                   absl::Span<const uint32_t> want) override;
  void Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Erase(absl::Span<const uint32_t> positions) override;
  void Rebuild(const KeyMatrixView& keys) override;

  bool exact() const override { return true; }
  std::string_view name() const override { return "faiss_flat"; }
  uint64_t MemoryBytes() const override;
  IndexStats stats() const override { return stats_; }

 private:
  struct Proposal;  // what FAISS answered for some rows, by segment

  // Searches the rows named by `todo` for ask(row) = (want[row] + margin) << round candidates; fills the results that
  // are certified, and moves the other rows to `failed`, or to `scan` when nearly all keys would be asked for.
  void SearchRound(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want, int round,
                   const std::vector<uint32_t>& todo, std::vector<SearchResult>* results,
                   std::vector<uint32_t>* failed, std::vector<uint32_t>* scan);
  // False when FAISS failed.
  bool Propose(const float* rows, size_t row_count, uint32_t ask, Proposal* proposal) const;
  bool Certify(const KeyMatrixView& keys, const float* row, uint32_t want, const Proposal& proposal, size_t at,
               SearchResult* result) const;
  void Scan(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
            const std::vector<uint32_t>& todo, std::vector<SearchResult>* results);
  void Put(const KeyMatrixView& keys, uint32_t position);
  float* RowAt(uint32_t position);

  const uint32_t dim_;
  const uint32_t capacity_;
  const uint32_t segment_rows_;
  const Parallel parallel_;
  std::vector<std::unique_ptr<faiss::IndexFlatIP>> segments_;
  double key_norm_;      // upper bound of the norms of all keys since Rebuild
  bool usable_ = true;   // false: the copy is incomplete, until Rebuild
  IndexStats stats_;
};

}  // namespace evoke
