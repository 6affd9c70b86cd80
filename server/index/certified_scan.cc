#include "server/index/certified_scan.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include "server/base/mutex.h"
#include "server/index/canonical_scan.h"
#include "server/index/scan_paths.h"
#include "server/index/survivors.h"
#include "server/index/top_candidates.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr float kEverything = std::numeric_limits<float>::infinity();

// A part is worth waking a thread: some 100 us of reading the high plane, or of adding products; at most kMaxParts. So is
// a group of rows to decide, by the candidates wanted.
constexpr size_t kPartBytes = size_t{2} << 20;
constexpr size_t kPartProducts = size_t{16} << 20;
constexpr size_t kMaxParts = 64;
constexpr size_t kDecideCandidates = 512;
// A run of keys stays in the second-level cache while all rows pass over it, in chunks whose packed form does too.
constexpr size_t kRunBytes = size_t{256} << 10;
constexpr size_t kChunkBytes = size_t{256} << 10;
constexpr size_t kChunkRows = 256;
// Scores of one call of a kernel, each of which may be a hit of 12 bytes.
constexpr size_t kBlockScores = 16384;
constexpr uint32_t kMinBlockKeys = 32;
// Candidates that all rows of a search may hold in one thread: 8 bytes each.
constexpr size_t kMaxHeld = size_t{1} << 23;
// Rows of one search: their pools take 16 bytes for each candidate wanted, in each thread.
constexpr size_t kPassCandidates = size_t{1} << 18;
// Keys are sampled in runs. A larger part of fewer keys: looking at more of them costs little then, and a better guess
// leaves fewer survivors. Of a few thousand only where many candidates are wanted.
constexpr uint32_t kSampleRun = 16;
constexpr uint32_t kSampleFrom = 16384;
constexpr uint32_t kSampleFromForMany = 1024;
constexpr size_t kManyCandidates = 2048;
uint32_t SampleOneOf(uint32_t keys) { return keys < 16384 ? 4 : keys < 65536 ? 8 : keys < 262144 ? 16 : 32; }

size_t PartsOf(size_t keys, uint32_t dim, size_t rows) {
  const size_t components = keys * dim;
  return std::clamp<size_t>(std::max(components * sizeof(uint16_t) / kPartBytes, components * rows / kPartProducts), 1,
                            kMaxParts);
}

struct FreeAligned {
  void operator()(void* p) const { ::operator delete[](p, std::align_val_t{64}); }
};

// Rows as a kernel wants them, and how far they are from the originals.
class PackedRows {
 public:
  PackedRows(const ScanKernels& kernels, const float* rows, size_t count, uint32_t dim)
      : groups_((count + kernels.lanes - 1) / kernels.lanes), group_bytes_(kernels.group_bytes(dim)) {
    data_.reset(static_cast<char*>(::operator new[](groups_ * group_bytes_, std::align_val_t{64})));
    for (size_t g = 0; g < groups_; ++g) {
      const size_t first = g * kernels.lanes;
      kernels.pack(rows + first * dim, std::min<size_t>(kernels.lanes, count - first), dim,
                   data_.get() + g * group_bytes_);
    }
  }
  size_t groups() const { return groups_; }
  size_t group_bytes() const { return group_bytes_; }
  const void* group(size_t g) const { return data_.get() + g * group_bytes_; }

 private:
  const size_t groups_;
  const size_t group_bytes_;
  std::unique_ptr<char[], FreeAligned> data_;
};

// What one thread has found so far.
struct Worker {
  std::vector<Survivors> rows;
  std::vector<float> thresholds;  // a lane each; beyond the rows nothing is let through
  std::unique_ptr<ScanHit[]> hits;  // of one block
};

// One pass of some rows over some keys.
class Pass {
 public:
  Pass(const KeyMatrixView& keys, const ScanKernels& kernels, const PackedRows& packed, size_t row_count)
      : keys_(keys), kernels_(kernels), packed_(packed), row_count_(row_count), least_(row_count) {}

  // For each row: how many are wanted, twice its error bound, and what its first threshold is made from.
  std::vector<uint32_t> want;
  std::vector<double> margin;
  std::vector<float> guess;

  // Scans [begin(i), end(i)) for each part i. Effect: workers() hold what survived.
  template <typename Scan>
  void Run(size_t parts, const Parallel& parallel, Scan scan) {
    for (size_t r = 0; r < row_count_; ++r) least_[r].store(kNothing, std::memory_order_relaxed);
    RunParallel(parallel, parts, [&](size_t part) {
      std::unique_ptr<Worker> worker = Take();
      scan(part, worker.get());
      MutexLock lock(&mu_);
      idle_.push_back(std::move(worker));
    });
  }
  void ScanRange(uint32_t first, uint32_t end, Worker* worker);

  // Of all workers; after Run.
  bool Collect(size_t row, std::vector<Survivors::Item>* items) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    items->clear();
    for (const auto& worker : idle_) {
      const Survivors& found = worker->rows[row];
      if (found.overflowed()) return false;
      items->insert(items->end(), found.items().begin(), found.items().end());
    }
    return true;
  }

 private:
  std::unique_ptr<Worker> Take() {
    {
      MutexLock lock(&mu_);
      if (!idle_.empty()) {
        std::unique_ptr<Worker> worker = std::move(idle_.back());
        idle_.pop_back();
        return worker;
      }
    }
    auto worker = std::make_unique<Worker>();
    worker->rows.resize(row_count_);
    const size_t most = kMaxHeld / row_count_;
    for (size_t r = 0; r < row_count_; ++r) {
      worker->rows[r].Begin(want[r], margin[r], Below(guess[r], margin[r]), std::max<size_t>(most, 8 * want[r]));
    }
    worker->thresholds.assign(packed_.groups() * kernels_.lanes, kEverything);
    const size_t hits = std::max<size_t>(kBlockScores, size_t{kMinBlockKeys} * kChunkRows);
    worker->hits = std::make_unique_for_overwrite<ScanHit[]>(hits);  // most of which are never touched
    return worker;
  }
  void ScanBlock(uint32_t first, uint32_t count, size_t group, size_t groups, Worker* worker);
  bool Unlimited(size_t group, const Worker& worker) const {
    const size_t row = group * kernels_.lanes;
    return worker.rows[row].least() == kNothing && least_[row].load(std::memory_order_relaxed) == kNothing;
  }
  void RaiseTo(size_t row, float least) {
    float seen = least_[row].load(std::memory_order_relaxed);
    while (seen < least && !least_[row].compare_exchange_weak(seen, least, std::memory_order_relaxed)) {
    }
  }

  const KeyMatrixView& keys_;
  const ScanKernels& kernels_;
  const PackedRows& packed_;
  const size_t row_count_;
  // Threads tell each other what no key may score below. Relaxed: whoever reads late keeps more, and loses nothing.
  std::vector<std::atomic<float>> least_;
  Mutex mu_;
  std::vector<std::unique_ptr<Worker>> idle_ ABSL_GUARDED_BY(mu_);
};

void Pass::ScanBlock(uint32_t first, uint32_t count, size_t group, size_t groups, Worker* worker) {
  const size_t first_row = group * kernels_.lanes;
  const size_t end_row = std::min(row_count_, (group + groups) * kernels_.lanes);
  float* thresholds = worker->thresholds.data();
  for (size_t r = first_row; r < end_row; ++r) {
    thresholds[r] = std::max(worker->rows[r].least(), least_[r].load(std::memory_order_relaxed));
  }
  const ScanKeys block{keys_.planes.high + first * keys_.planes.stride, keys_.planes.stride, count, keys_.dim};
  const size_t hits = kernels_.scan(block, packed_.group(group), groups, thresholds + first_row, worker->hits.get());
  for (size_t h = 0; h < hits; ++h) {
    const ScanHit& hit = worker->hits[h];
    const size_t row = first_row + hit.row;
    const uint32_t position = first + hit.key;
    Survivors& survivors = worker->rows[row];
    if (hit.score < survivors.least() || !keys_.IsLive(position)) continue;
    if (survivors.Push({hit.score, position})) RaiseTo(row, survivors.least());
  }
}

void Pass::ScanRange(uint32_t first, uint32_t end, Worker* worker) {
  const uint32_t run_keys =
      std::max<uint32_t>(kMinBlockKeys, static_cast<uint32_t>(kRunBytes / (sizeof(uint16_t) * keys_.dim)));
  const size_t chunk = std::clamp<size_t>(kChunkBytes / packed_.group_bytes(), 1, kChunkRows / kernels_.lanes);
  for (uint32_t run = first; run < end; run += std::min(run_keys, end - run)) {
    const uint32_t run_end = run + std::min(run_keys, end - run);
    for (size_t group = 0; group < packed_.groups(); group += chunk) {
      const size_t groups = std::min(chunk, packed_.groups() - group);
      const uint32_t block =
          std::max<uint32_t>(kMinBlockKeys, static_cast<uint32_t>(kBlockScores / (groups * kernels_.lanes)));
      // Where a row has no threshold every key is a hit: shorter blocks until it has one.
      uint32_t step = Unlimited(group, *worker) ? kMinBlockKeys : block;
      for (uint32_t at = run; at < run_end;) {
        const uint32_t count = std::min(step, run_end - at);
        ScanBlock(at, count, group, groups, worker);
        at += count;
        step = std::min(block, 2 * step);
      }
    }
  }
}

// A row's score that about `want` keys and some more reach, if the sample is one of them all. (Expecting 8, there are as
// many as 19 in one sample of 1,500; such a row is searched again, which costs less than more survivors in all rows.)
uint32_t SampledWant(uint32_t want, uint32_t rows, uint32_t sampled) {
  const double expected = static_cast<double>(want) * sampled / rows;
  return static_cast<uint32_t>(std::ceil(expected + 3 * std::sqrt(expected) + 2));
}

// guess[r] of `pass`, from a pass over a sample.
void GuessFromSample(const KeyMatrixView& keys, const ScanKernels& kernels, const PackedRows& packed,
                     const Parallel& parallel, Pass* pass) {
  const size_t rows = pass->want.size();
  pass->guess.assign(rows, kNothing);
  const bool many = std::accumulate(pass->want.begin(), pass->want.end(), size_t{0}) >= kManyCandidates;
  if (keys.rows < (many ? kSampleFromForMany : kSampleFrom)) return;
  const uint32_t runs = keys.rows / kSampleRun / SampleOneOf(keys.rows);
  Pass sample(keys, kernels, packed, rows);
  for (const uint32_t want : pass->want) sample.want.push_back(SampledWant(want, keys.rows, runs * kSampleRun));
  sample.margin.assign(rows, 0);
  sample.guess.assign(rows, kNothing);
  const size_t parts = PartsOf(runs * kSampleRun, keys.dim, rows);
  sample.Run(parts, parallel, [&](size_t part, Worker* worker) {
    for (size_t run = runs * part / parts; run < runs * (part + 1) / parts; ++run) {
      const auto first = static_cast<uint32_t>(uint64_t{keys.rows} * run / runs);
      sample.ScanRange(first, std::min(keys.rows, first + kSampleRun), worker);
    }
  });
  std::vector<Survivors::Item> items;
  for (size_t r = 0; r < rows; ++r) {
    const uint32_t want = sample.want[r];
    if (!sample.Collect(r, &items) || items.size() < want) continue;
    std::nth_element(items.begin(), items.begin() + (want - 1), items.end(),
                     [](const Survivors::Item& a, const Survivors::Item& b) { return a.score > b.score; });
    pass->guess[r] = items[want - 1].score;
  }
}

// The answer of a row, from what survived.
enum class Decision : uint8_t { kCertified, kWrongGuess, kTooMany };
Decision Decide(const KeyMatrixView& keys, const Pass& pass, size_t row, const float* embedding, SearchResult* result) {
  std::vector<Survivors::Item> items;
  const uint32_t want = pass.want[row];
  if (!pass.Collect(row, &items)) return Decision::kTooMany;
  if (items.size() < want) return Decision::kWrongGuess;
  std::nth_element(items.begin(), items.begin() + (want - 1), items.end(),
                   [](const Survivors::Item& a, const Survivors::Item& b) { return a.score > b.score; });
  const float last = items[want - 1].score;
  if (last < pass.guess[row]) return Decision::kWrongGuess;
  const float least = Below(last, pass.margin[row]);
  std::erase_if(items, [least](const Survivors::Item& item) { return item.score < least; });

  std::vector<SplitVector> survivors(items.size());
  for (size_t i = 0; i < items.size(); ++i) survivors[i] = keys.row(items[i].position);
  std::vector<float> similarities(items.size());
  SimilarityGather(embedding, survivors, static_cast<int>(keys.dim), similarities.data());
  std::vector<Candidate>& candidates = result->candidates;
  candidates.resize(items.size());
  for (size_t i = 0; i < items.size(); ++i) candidates[i] = {items[i].position, similarities[i]};
  const auto before = [](const Candidate& a, const Candidate& b) { return Before(a, b); };
  if (candidates.size() > want) {
    std::nth_element(candidates.begin(), candidates.begin() + want, candidates.end(), before);
    candidates.resize(want);
  }
  std::sort(candidates.begin(), candidates.end(), before);
  result->bound = SearchResult::Bound::kLast;
  return Decision::kCertified;
}

// Rows of one search that go together, made contiguous.
struct Batch {
  std::vector<uint32_t> places;  // in the request
  std::vector<float> rows;
  std::vector<uint32_t> want;

  void Add(uint32_t place, uint32_t wanted, const float* row, uint32_t dim) {
    places.push_back(place);
    want.push_back(wanted);
    rows.insert(rows.end(), row, row + dim);
  }
};

// Twice how far a rough score can be from the canonical similarity, for any key.
double Margin(const ScanKernels& kernels, const float* row, uint32_t dim, const KeyRounding& keys) {
  std::vector<uint16_t> high(dim);
  std::vector<int16_t> low(dim);
  Split(row, static_cast<int>(dim), high.data(), low.data());
  KeyRounding of_row;
  of_row.Cover({high.data(), low.data()}, dim);
  // A score of whole numbers is exact, and then rounded four times: as if it were a sum of a few elements more.
  return 2 * RoughErrorBound(static_cast<int>(dim) + 4, of_row.norm(), of_row.lost(kernels.rows), keys.norm(),
                             keys.lost(kernels.keys));
}

// Answers the rows of the batch that it can. What was guessed wrong goes to `again`, what had too many to `too_many`.
void ScanBatch(const KeyMatrixView& keys, const KeyRounding& rounding, const Batch& batch, bool may_guess,
               const Parallel& parallel, std::vector<SearchResult>* results, Batch* again, Batch* too_many) {
  const size_t count = batch.places.size();
  const uint32_t most = *std::max_element(batch.want.begin(), batch.want.end());
  const ScanKernels& kernels = ScanKernelsFor(ActiveScanPath(), keys.dim, count, keys.rows / most);
  const PackedRows packed(kernels, batch.rows.data(), count, keys.dim);
  Pass pass(keys, kernels, packed, count);
  pass.want = batch.want;
  for (size_t r = 0; r < count; ++r) {
    pass.margin.push_back(Margin(kernels, batch.rows.data() + r * keys.dim, keys.dim, rounding));
  }
  pass.guess.assign(count, kNothing);
  if (may_guess) GuessFromSample(keys, kernels, packed, parallel, &pass);

  const size_t parts = PartsOf(keys.rows, keys.dim, count);
  pass.Run(parts, parallel, [&](size_t part, Worker* worker) {
    const auto begin = [&](size_t p) { return static_cast<uint32_t>(uint64_t{keys.rows} * p / parts); };
    pass.ScanRange(begin(part), begin(part + 1), worker);
  });
  std::vector<Decision> decided(count);
  const size_t together = std::max<size_t>(1, kDecideCandidates / most);
  RunParallel(parallel, (count + together - 1) / together, [&](size_t group) {
    for (size_t r = group * together; r < std::min(count, (group + 1) * together); ++r) {
      decided[r] = Decide(keys, pass, r, batch.rows.data() + r * keys.dim, &(*results)[batch.places[r]]);
    }
  });
  for (size_t r = 0; r < count; ++r) {
    if (decided[r] == Decision::kCertified) continue;
    Batch* to = decided[r] == Decision::kWrongGuess ? again : too_many;
    to->Add(batch.places[r], batch.want[r], batch.rows.data() + r * keys.dim, keys.dim);
  }
}

}  // namespace

std::vector<SearchResult> CertifiedScan(const KeyMatrixView& keys, const KeyRounding& rounding, const float* rows,
                                        absl::Span<const uint32_t> want, const Parallel& parallel, IndexStats* stats) {
  std::vector<SearchResult> results(want.size());
  Batch rest;  // for the canonical scan
  const bool usable = std::isfinite(rounding.norm()) && std::isfinite(rounding.lost(Rounding::kBfloat16)) &&
                      std::isfinite(rounding.lost(Rounding::kInt8));
  for (size_t row = 0; row < want.size();) {
    Batch batch;
    size_t candidates = 0;
    for (; row < want.size() && (batch.places.empty() || candidates + want[row] <= kPassCandidates); ++row) {
      // Nearly all keys are wanted: nothing could be left out.
      Batch& to = !usable || uint64_t{want[row]} * 2 > keys.live_count ? rest : batch;
      to.Add(static_cast<uint32_t>(row), want[row], rows + row * keys.dim, keys.dim);
      candidates += want[row];
    }
    if (batch.places.empty()) continue;
    Batch again;
    const size_t scanned = rest.places.size();
    ScanBatch(keys, rounding, batch, /*may_guess=*/true, parallel, &results, &again, &rest);
    stats->uncertified_rows += again.places.size() + rest.places.size() - scanned;
    // Without a guess nothing can be guessed wrong.
    if (!again.places.empty()) ScanBatch(keys, rounding, again, /*may_guess=*/false, parallel, &results, &rest, &rest);
  }
  if (rest.places.empty()) return results;
  std::vector<SearchResult> found = CanonicalScan(keys, rest.rows.data(), rest.want, parallel);
  for (size_t i = 0; i < found.size(); ++i) results[rest.places[i]] = std::move(found[i]);
  stats->scanned_rows += uint64_t{found.size()} * keys.rows;
  return results;
}

}  // namespace evoke
