// Exact answers from rough scores: the certificate that every fast exact index goes through.
//
// A source tells its `ask` best keys by scores of its own. With t the worst of them and eps the source's
// error bound, no other key's canonical similarity is above t + eps. The listed keys are scored canonically;
// a row whose last wanted similarity *exceeds* t + eps has missed nothing, if all of them are within eps of their
// scores. Otherwise it is uncertified: counted, asked again for twice and four times as many, and then answered by
// the canonical scan (near-ties by the thousand, exact ties across the cut). README.md has the argument at length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "server/index/index.h"

namespace evoke {

// Scores keys fast. Called by one thread at a time.
class ScoreSource {
 public:
  struct Scored {
    float score = 0;
    uint32_t position = 0;
  };
  virtual ~ScoreSource() = default;

  // lists[i] becomes the `ask` best positions of row i, in any order; free ones may be among them. Every key
  // that is not listed scores at most the lowest score of the list. A list that is shorter says nothing.
  // Returns false, and does not throw, when it cannot tell. `rows`: [row_count, dim]. Requires: ask is below
  // the number of live keys.
  virtual bool Score(const float* rows, size_t row_count, uint32_t ask,
                     std::vector<std::vector<Scored>>* lists) = 0;
  // |score - canonical similarity| is at most this, for the row and every key.
  virtual double ErrorBound(const float* row) const = 0;
  // Rows x ask of one call at most, so that its lists stay of bounded size; a single row may exceed it.
  virtual size_t MaxCandidates() const = 0;
  // The most that may be asked for a row; rows that need more are not tried.
  virtual uint32_t MaxAsk() const { return std::numeric_limits<uint32_t>::max(); }
};

// What it asks the source for, and what that proves: certified[i] becomes the round, from 1, in which (*results)[i] was
// proved to be the answer of row i, and 0 when it was in none; the caller answers those. Both are resized to want.size().
// Rows that failed when they were first tried are added to uncertified_rows.
void CertifiedRounds(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want, ScoreSource* source,
                     const Parallel& parallel, std::vector<SearchResult>* results, std::vector<uint8_t>* certified,
                     uint64_t* uncertified_rows);

// As Index::Search of an exact index: the rounds, then the canonical scan of what they left. Adds to `stats`. An empty
// `parallel`: the calling thread alone.
std::vector<SearchResult> CertifiedSearch(const KeyMatrixView& keys, const float* rows,
                                          absl::Span<const uint32_t> want, ScoreSource* source,
                                          const Parallel& parallel, IndexStats* stats);

}  // namespace evoke
