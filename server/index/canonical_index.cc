#include "server/index/canonical_index.h"

#include "server/index/canonical_scan.h"

namespace evoke {

std::vector<SearchResult> CanonicalIndex::Search(const KeyMatrixView& keys, const float* rows,
                                            absl::Span<const uint32_t> want) {
  stats_.scanned_rows += uint64_t{want.size()} * keys.rows;
  return CanonicalScan(keys, rows, want, parallel_);
}

}  // namespace evoke
