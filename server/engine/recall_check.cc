#include "server/engine/recall_check.h"

#include <algorithm>

#include "server/similarity/rank.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

constexpr size_t kRows = 4;
constexpr uint32_t kKeyFloats = 1 << 17;  // of the positions that a look takes: half a MiB, read once from RAM
constexpr uint64_t kWindow = 1024;        // neighbors; beyond it the older ones count half

}  // namespace

void RecallCheck::Look(const KeyMatrixView& keys, const float* rows, absl::Span<const SearchResult> results) {
  if (keys.rows == 0 || results.empty()) return;
  granted_ = false;
  if (next_position_ >= keys.rows) next_position_ = 0;
  const uint32_t begin = next_position_;
  const uint32_t end = begin + std::min(keys.rows - begin, std::max(1u, kKeyFloats / keys.dim));
  next_position_ = end;
  for (size_t n = 0; n < std::min(kRows, results.size()); ++n) {
    const size_t r = next_row_++ % results.size();
    LookAt(keys, rows + r * keys.dim, results[r], begin, end);
  }
  while (found_ + missed_ > kWindow) found_ = (found_ + 1) / 2, missed_ /= 2;
}

void RecallCheck::LookAt(const KeyMatrixView& keys, const float* row, const SearchResult& result, uint32_t begin,
                         uint32_t end) {
  const bool complete = result.bound == SearchResult::Bound::kComplete;
  if (result.candidates.empty() && !complete) return;  // it claims nothing
  std::vector<uint32_t> named;
  for (const Candidate& c : result.candidates) {
    if (c.position >= begin && c.position < end) named.push_back(c.position);
  }
  std::sort(named.begin(), named.end());

  std::vector<uint32_t> others;
  std::vector<SplitVector> vectors;
  for (uint32_t p = begin; p < end; ++p) {
    if (!keys.IsLive(p) || std::binary_search(named.begin(), named.end(), p)) continue;
    others.push_back(p);
    vectors.push_back(keys.row(p));
  }
  std::vector<float> similarities(others.size());
  SimilarityGather(row, vectors, static_cast<int>(keys.dim), similarities.data());
  found_ += named.size();
  for (size_t i = 0; i < others.size(); ++i) {
    const Candidate* last = complete ? nullptr : &result.candidates.back();
    missed_ += last == nullptr || Before(Rank{similarities[i], others[i]}, Rank{last->similarity, last->position});
  }
}

}  // namespace evoke
