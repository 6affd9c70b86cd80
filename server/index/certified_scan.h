// The exact answer from a scan of half the bytes: rough scores propose, the canonical similarity decides, and a bound
// proves that nothing was missed.
//
// Write s~ for a key's rough score, s for its canonical similarity, and eps for a bound of |s~ - s| (RoughErrorBound: the
// rounding of keys and rows to bfloat16 or less, and float32 sums in any order). With t~ the want-th best rough score, `want` keys
// have s >= t~ - eps, so the want-th best canonical similarity is at least that, and every key of the answer has
// s~ >= t~ - 2 eps; ties included. Any lower bound L of t~ may stand in for it: what scores below L - 2 eps is dropped as it
// is scanned. What is left is scored canonically, sorted and cut.
//
// L begins as a guess from a sample of the keys, and is verified at the end: a row whose t~ turns out below its guess is
// searched again without one. A row with too many keys within 2 eps to hold goes to the canonical scan. Both are counted
// as uncertified. Results depend on keys and rows alone.
//
// Reads the high plane once for a few hundred rows, and both planes of a few keys more than wanted. Threads: as Index.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/index/index.h"
#include "server/index/key_rounding.h"

namespace evoke {

// `rows`: [want.size(), keys.dim], row-major; the best want[i] live keys of row i, in canonical order, and whether that is
// all. Requires: `rounding` covers every live key; all rows of the matrix are finite in bfloat16. Adds to `stats`.
std::vector<SearchResult> CertifiedScan(const KeyMatrixView& keys, const KeyRounding& rounding, const float* rows,
                                        absl::Span<const uint32_t> want, const Parallel& parallel, IndexStats* stats);

}  // namespace evoke
