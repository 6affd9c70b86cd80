#include "server/index/flat_index.h"

#include <algorithm>

#include "server/index/canonical_scan.h"

namespace evoke {

std::vector<SearchResult> FlatIndex::Search(const KeyMatrixView& keys, const float* rows,
                                            absl::Span<const uint32_t> want) {
  return CertifiedScan(keys, rounding_, rows, want, parallel_, &stats_);
}

void FlatIndex::Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  for (const uint32_t position : positions) rounding_.Cover(keys.row(position), keys.dim);
}

void FlatIndex::Rebuild(const KeyMatrixView& keys) {
  constexpr uint32_t kPartRows = 16384;
  const uint32_t parts = (keys.rows + kPartRows - 1) / kPartRows;
  std::vector<KeyRounding> of_part(parts);
  RunParallel(parallel_, parts, [&](size_t part) {
    const auto first = static_cast<uint32_t>(part) * kPartRows;
    const uint32_t end = first + std::min(kPartRows, keys.rows - first);
    for (uint32_t position = first; position < end; ++position) of_part[part].Cover(keys.row(position), keys.dim);
  });
  rounding_ = {};
  for (const KeyRounding& rounding : of_part) rounding_.Cover(rounding);
}

}  // namespace evoke
