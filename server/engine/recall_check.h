// Looks, now and then, whether an index answered what the keys say: the figure that tells what an approximate index
// loses on this memory's own queries, and that an exact one loses nothing.
//
//   Grant once a second -> Looks() -> after a search: Look
//
// A look takes up to four rows of a search and a run of positions, which goes on where the last one ended: a live key
// there that is at least as near as the farthest candidate of a row was found if it is among the row's candidates, else
// missed. The ratio is over about the last thousand of them, so that it follows what the index does today.
//
// Threads: the shard's. Pure: no clock, no randomness, nothing of it in any answer. Cost of a look: at most 2^19
// multiplications, a tenth or two of a millisecond, for any number of slots.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/index/index.h"

namespace evoke {

class RecallCheck {
 public:
  // Effect: one more look is allowed.
  void Grant() { granted_ = true; }
  bool Looks() const { return granted_; }

  // `rows`: [results.size(), keys.dim], what was searched for in `keys` as they are now.
  void Look(const KeyMatrixView& keys, const float* rows, absl::Span<const SearchResult> results);

  // Neighbors that should have been named: those that were, and those that were not.
  uint64_t found() const { return found_; }
  uint64_t missed() const { return missed_; }

 private:
  void LookAt(const KeyMatrixView& keys, const float* row, const SearchResult& result, uint32_t begin, uint32_t end);

  bool granted_ = true;
  uint32_t next_position_ = 0;
  size_t next_row_ = 0;
  uint64_t found_ = 0, missed_ = 0;
};

}  // namespace evoke
