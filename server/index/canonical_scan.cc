#include "server/index/canonical_scan.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <memory>
#include <utility>

#include "server/base/mutex.h"
#include "server/index/top_candidates.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// Positions of one part: at least 2 MiB of keys, so that a part is worth a thread's while; at most kMaxParts.
constexpr size_t kPartBytes = size_t{2} << 20;
constexpr size_t kMaxParts = 64;
// A run of keys stays in the second-level cache (1 MiB here) while all rows of a pass go over it.
constexpr size_t kRunBytes = size_t{256} << 10;
// Rows x keys of one call of SimilarityBlock: its 16 KiB of scores stay in the first-level cache.
constexpr size_t kBlockScores = 4096;
constexpr size_t kBlockRows = 64;
constexpr uint32_t kMinBlockKeys = 64;
// Candidates wanted by the rows of one pass: the pools of a thread hold about twice as many, 8 bytes each.
constexpr size_t kPassCandidates = size_t{1} << 18;
constexpr uint32_t kLanes = 16;

static_assert(std::atomic<float>::is_always_lock_free);

// What one thread has found so far, a pool a row. Pools go on from part to part, so that the floors are those
// of all that the thread has seen.
struct Pools {
  size_t last_part = 0;
  std::vector<TopCandidates> rows;
};

// Threads tell each other how good the best `want` of any of them are. Relaxed: a floor that is read late
// drops fewer candidates, and those that it drops could not have been in the answer whenever it is read.
struct Pass {
  const KeyMatrixView& keys;
  const float* rows;
  absl::Span<const uint32_t> want;
  std::vector<std::atomic<float>> floors;

  Mutex mu;
  std::vector<std::unique_ptr<Pools>> idle ABSL_GUARDED_BY(mu);

  // Pools that have seen earlier parts only, as their tie-break wants ascending positions.
  std::unique_ptr<Pools> Take(size_t part) {
    MutexLock lock(&mu);
    for (std::unique_ptr<Pools>& pools : idle) {
      if (pools->last_part >= part) continue;
      std::swap(pools, idle.back());
      std::unique_ptr<Pools> taken = std::move(idle.back());
      idle.pop_back();
      taken->last_part = part;
      return taken;
    }
    auto fresh = std::make_unique<Pools>();
    fresh->last_part = part;
    fresh->rows.reserve(want.size());
    for (const uint32_t w : want) fresh->rows.emplace_back(w);
    return fresh;
  }
  void Give(std::unique_ptr<Pools> pools) {
    MutexLock lock(&mu);
    idle.push_back(std::move(pools));
  }
};

void RaiseTo(std::atomic<float>* floor, float similarity) {
  float seen = floor->load(std::memory_order_relaxed);
  while (seen < similarity && !floor->compare_exchange_weak(seen, similarity, std::memory_order_relaxed)) {
  }
}

// Keeps the scores of `count` positions from `first` on that can still matter.
void Filter(Pass* pass, size_t row, const float* scores, uint32_t first, uint32_t count, TopCandidates* top) {
  top->RaiseFloor(pass->floors[row].load(std::memory_order_relaxed));
  for (uint32_t i = 0; i < count; i += kLanes) {
    const uint32_t lanes = std::min(kLanes, count - i);
    const float floor = top->floor();
    // Almost always none of them passes; written so that the compiler compares all at once.
    unsigned any = 0;
    if (lanes == kLanes) {
      for (uint32_t l = 0; l < kLanes; ++l) any |= scores[i + l] >= floor ? 1u : 0u;
    } else {
      for (uint32_t l = 0; l < lanes; ++l) any |= scores[i + l] >= floor ? 1u : 0u;
    }
    if (any == 0) continue;
    for (uint32_t l = 0; l < lanes; ++l) {
      const float score = scores[i + l];
      if (score >= top->floor() && pass->keys.IsLive(first + i + l) && top->Push({first + i + l, score})) {
        RaiseTo(&pass->floors[row], top->worst());
      }
    }
  }
}

bool AnyLive(const KeyMatrixView& keys, uint32_t first, uint32_t end) {
  for (uint32_t word = first >> 6; word <= (end - 1) >> 6; ++word) {
    if (keys.live[word] != 0) return true;
  }
  return false;
}

void ScanPart(Pass* pass, uint32_t first, uint32_t end, std::vector<TopCandidates>* tops) {
  const KeyMatrixView& keys = pass->keys;
  const int dim = static_cast<int>(keys.dim);
  const size_t row_count = pass->want.size();
  const size_t block_rows = std::min(row_count, kBlockRows);
  const uint32_t block_keys = std::max<uint32_t>(kMinBlockKeys, kBlockScores / block_rows);
  const uint32_t run_keys = std::max<uint32_t>(block_keys, kRunBytes / (sizeof(float) * keys.dim));
  std::vector<float> scores(block_rows * block_keys);
  std::vector<float> joined(size_t{std::min(run_keys, end - first)} * keys.dim);
  for (uint32_t run = first; run < end; run += std::min(run_keys, end - run)) {
    const uint32_t run_end = run + std::min(run_keys, end - run);
    if (!AnyLive(keys, run, run_end)) continue;
    for (uint32_t at = run; at < run_end; ++at) Join(keys.row(at), dim, joined.data() + (at - run) * size_t{keys.dim});
    for (size_t row = 0; row < row_count; row += block_rows) {
      const size_t rows = std::min(block_rows, row_count - row);
      for (uint32_t at = run; at < run_end; at += std::min(block_keys, run_end - at)) {
        const uint32_t count = std::min(block_keys, run_end - at);
        SimilarityBlock(pass->rows + row * keys.dim, keys.dim, rows, joined.data() + (at - run) * size_t{keys.dim},
                        keys.dim, count, dim, scores.data(), block_keys);
        for (size_t r = 0; r < rows; ++r) {
          Filter(pass, row + r, scores.data() + r * block_keys, at, count, &(*tops)[row + r]);
        }
      }
    }
  }
}

SearchResult Merge(const KeyMatrixView& keys, const std::vector<std::unique_ptr<Pools>>& found, size_t row,
                   uint32_t want) {
  SearchResult result;
  std::vector<Candidate>& all = result.candidates;
  for (const std::unique_ptr<Pools>& pools : found) {
    all.insert(all.end(), pools->rows[row].pool().begin(), pools->rows[row].pool().end());
  }
  const size_t count = std::min<size_t>(want, all.size());
  const auto before = [](const Candidate& a, const Candidate& b) { return Before(a, b); };
  if (count < all.size()) std::nth_element(all.begin(), all.begin() + count, all.end(), before);
  all.resize(count);
  std::sort(all.begin(), all.end(), before);
  result.bound = count == keys.live_count ? SearchResult::Bound::kComplete : SearchResult::Bound::kLast;
  return result;
}

void ScanPass(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
              const Parallel& parallel, SearchResult* results) {
  Pass pass{.keys = keys, .rows = rows, .want = want, .floors = std::vector<std::atomic<float>>(want.size())};
  for (std::atomic<float>& floor : pass.floors) {
    floor.store(-std::numeric_limits<float>::infinity(), std::memory_order_relaxed);
  }
  const size_t key_bytes = size_t{keys.rows} * keys.dim * sizeof(float);
  const size_t part_count = std::clamp<size_t>(key_bytes / kPartBytes, 1, kMaxParts);
  // Parts begin at whole words of the live bitmap.
  const uint64_t words = (uint64_t{keys.rows} + 63) / 64;
  const auto begin_of = [&](size_t part) {
    return static_cast<uint32_t>(std::min<uint64_t>(keys.rows, words * part / part_count * 64));
  };
  RunParallel(parallel, part_count, [&](size_t part) {
    std::unique_ptr<Pools> pools = pass.Take(part + 1);
    ScanPart(&pass, begin_of(part), begin_of(part + 1), &pools->rows);
    pass.Give(std::move(pools));
  });
  MutexLock lock(&pass.mu);
  const std::vector<std::unique_ptr<Pools>>& found = pass.idle;
  constexpr size_t kMergeRows = 16;
  RunParallel(parallel, (want.size() + kMergeRows - 1) / kMergeRows, [&](size_t group) {
    const size_t end = std::min(want.size(), (group + 1) * kMergeRows);
    for (size_t row = group * kMergeRows; row < end; ++row) results[row] = Merge(keys, found, row, want[row]);
  });
}

}  // namespace

void RunParallel(const Parallel& parallel, size_t count, const std::function<void(size_t)>& body) {
  if (parallel && count > 1) {
    parallel(count, body);
  } else {
    for (size_t i = 0; i < count; ++i) body(i);
  }
}

std::vector<SearchResult> CanonicalScan(const KeyMatrixView& keys, const float* rows,
                                        absl::Span<const uint32_t> want, const Parallel& parallel) {
  std::vector<SearchResult> results(want.size());
  if (keys.live_count == 0) return results;  // kComplete
  for (size_t row = 0; row < want.size();) {
    size_t end = row;
    size_t candidates = 0;
    while (end < want.size() && (end == row || candidates + want[end] <= kPassCandidates))
      candidates += want[end++];
    ScanPass(keys, rows + row * keys.dim, want.subspan(row, end - row), parallel, &results[row]);
    row = end;
  }
  return results;
}

}  // namespace evoke
