// The exact answer, by looking at every live key with the canonical similarity: the oracle, and what every
// exact index falls back to.
//
// Results depend on the keys and rows alone, not on how positions are cut into parts or how many threads take
// them. Cost: rows x positions x dim multiplications; the keys come through the cache once for a few hundred
// rows. Holds at most about 2 x want candidates a row and part while it runs.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/index/index.h"

namespace evoke {

// `rows`: [want.size(), keys.dim], row-major. The best want[i] live keys of row i, in canonical order, and
// whether that is all. An empty `parallel`: the calling thread alone.
std::vector<SearchResult> CanonicalScan(const KeyMatrixView& keys, const float* rows,
                                        absl::Span<const uint32_t> want, const Parallel& parallel);

// body(0 .. count - 1) on `parallel`, or here when it is empty.
void RunParallel(const Parallel& parallel, size_t count, const std::function<void(size_t)>& body);

}  // namespace evoke
