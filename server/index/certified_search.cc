#include "server/index/certified_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "server/index/canonical_scan.h"
#include "server/index/top_candidates.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// Searches of a row before the canonical scan: each doubles the candidates.
constexpr int kRounds = 3;
constexpr size_t kCallRows = 1024;
constexpr size_t kGroupRows = 16;

// On random keys a few dozen suffice: at 524,288 x 128 about 0.15 keys lie within 2 eps of the 256th.
uint64_t Ask(uint32_t want, int round) {
  return (uint64_t{want} + 32 + want / 8) << round;
}

bool Certify(const KeyMatrixView& keys, const float* row, uint32_t want,
             const std::vector<ScoreSource::Scored>& listed, uint32_t ask, double eps, SearchResult* result) {
  if (listed.size() < ask) return false;
  double worst = listed[0].score;
  std::vector<Candidate>& candidates = result->candidates;
  candidates.clear();
  std::vector<SplitVector> key_rows;
  std::vector<float> scores;
  for (const ScoreSource::Scored& s : listed) {
    worst = std::min<double>(worst, s.score);
    if (s.position >= keys.rows || !keys.IsLive(s.position)) continue;
    candidates.push_back({s.position, 0});
    key_rows.push_back(keys.row(s.position));
    scores.push_back(s.score);
  }
  if (candidates.size() < want) return false;
  std::vector<float> similarities(candidates.size());
  SimilarityGather(row, key_rows, static_cast<int>(keys.dim), similarities.data());
  for (size_t i = 0; i < candidates.size(); ++i) {
    // A source that breaks its bound where that is seen (a GPU that was told to compute in fewer bits, a copy that is
    // damaged) is not believed where it is not.
    if (!(std::abs(double{scores[i]} - double{similarities[i]}) <= eps * (1 + 0x1p-50))) return false;
    candidates[i].similarity = similarities[i];
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return Before(a, b); });
  candidates.resize(want);
  result->bound = SearchResult::Bound::kLast;
  const double others = worst + eps;  // rounded to nearest: hence the 2^-50
  return double{candidates.back().similarity} > others + std::abs(others) * 0x1p-50;
}

// Rows that are searched together, made contiguous.
struct Call {
  std::vector<uint32_t> rows;  // their places in the request
  std::vector<float> packed;
  uint32_t ask = 0;  // the most that any of them asks for

  void Pack(const float* all, uint32_t dim) {
    packed.resize(rows.size() * dim);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(packed.data() + i * dim, all + size_t{rows[i]} * dim, sizeof(float) * dim);
    }
  }
};

}  // namespace

void CertifiedRounds(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want, ScoreSource* source,
                     const Parallel& parallel, std::vector<SearchResult>* results, std::vector<uint8_t>* certified,
                     uint64_t* uncertified_rows) {
  results->assign(want.size(), {});
  certified->assign(want.size(), 0);
  std::vector<uint32_t> todo(want.size());
  std::iota(todo.begin(), todo.end(), 0);

  for (int round = 0; round < kRounds && !todo.empty(); ++round) {
    std::vector<uint32_t> failed;
    // Rows of which nearly all keys would be asked for are better scanned at once.
    std::erase_if(todo, [&](uint32_t row) {
      const uint64_t ask = Ask(want[row], round);
      return ask >= keys.live_count || ask > source->MaxAsk();
    });
    for (size_t at = 0; at < todo.size();) {
      Call call;
      for (; at < todo.size() && call.rows.size() < kCallRows; ++at) {
        const uint32_t ask = std::max(call.ask, static_cast<uint32_t>(Ask(want[todo[at]], round)));
        if (!call.rows.empty() && (call.rows.size() + 1) * ask > source->MaxCandidates()) break;
        call.ask = ask;
        call.rows.push_back(todo[at]);
      }
      call.Pack(rows, keys.dim);
      std::vector<std::vector<ScoreSource::Scored>> lists;
      const bool scored = source->Score(call.packed.data(), call.rows.size(), call.ask, &lists);
      const size_t groups = scored ? (call.rows.size() + kGroupRows - 1) / kGroupRows : 0;
      RunParallel(parallel, groups, [&](size_t group) {
        const size_t end = std::min(call.rows.size(), (group + 1) * kGroupRows);
        for (size_t i = group * kGroupRows; i < end; ++i) {
          const uint32_t row = call.rows[i];
          const float* packed = call.packed.data() + i * keys.dim;
          if (Certify(keys, packed, want[row], lists[i], call.ask, source->ErrorBound(packed), &(*results)[row])) {
            (*certified)[row] = static_cast<uint8_t>(round + 1);
          }
        }
      });
      for (const uint32_t row : call.rows) {
        if ((*certified)[row] == 0) failed.push_back(row);
      }
    }
    if (round == 0) *uncertified_rows += failed.size();
    todo = std::move(failed);
  }
}

std::vector<SearchResult> CertifiedSearch(const KeyMatrixView& keys, const float* rows,
                                          absl::Span<const uint32_t> want, ScoreSource* source,
                                          const Parallel& parallel, IndexStats* stats) {
  std::vector<SearchResult> results;
  std::vector<uint8_t> certified;
  CertifiedRounds(keys, rows, want, source, parallel, &results, &certified, &stats->uncertified_rows);
  Call rest;
  std::vector<uint32_t> wanted;
  for (uint32_t row = 0; row < want.size(); ++row) {
    if (certified[row] != 0) continue;
    rest.rows.push_back(row);
    wanted.push_back(want[row]);
  }
  if (rest.rows.empty()) return results;
  rest.Pack(rows, keys.dim);
  std::vector<SearchResult> found = CanonicalScan(keys, rest.packed.data(), wanted, parallel);
  for (size_t i = 0; i < found.size(); ++i) results[rest.rows[i]] = std::move(found[i]);
  stats->scanned_rows += uint64_t{found.size()} * keys.rows;
  return results;
}

}  // namespace evoke
