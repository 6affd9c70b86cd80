#include "server/index/faiss_flat_index.h"

#include <dlfcn.h>
#include <faiss/IndexFlat.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "server/index/canonical_scan.h"
#include "server/index/top_candidates.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// FAISS begins each segment without a threshold and keeps many candidates until it has found a good one: at 524,288 x
// 128 and 64 rows one segment takes 162 ms of processor time, four 196, eight 225. So there are several only for
// threads to share, or when one would be a reservation that the kernel refuses.
constexpr uint32_t kParallelSegments = 4;
constexpr uint32_t kMinSegmentRows = 4096;
constexpr uint64_t kMaxSegmentBytes = uint64_t{1} << 30;
// Searches of a row before the canonical scan: each doubles the candidates, 4 times in the end.
constexpr int kRounds = 3;
// Candidates of one call, over its rows and the segments: 12 bytes each, 24 MiB; FAISS takes twice that for those
// segments that are being searched.
constexpr size_t kCallCandidates = size_t{1} << 21;
constexpr size_t kCallRows = 1024;

uint32_t SegmentRows(const IndexOptions& options) {
  const uint64_t rows = options.parallel ? options.capacity / kParallelSegments + 1 : options.capacity;
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(rows, kMinSegmentRows, kMaxSegmentBytes / (sizeof(float) * options.dim)));
}

// On random keys a few dozen suffice: at 524,288 x 128 about 0.15 keys lie within 2 eps of the 256th.
uint32_t Margin(uint32_t want) { return 32 + want / 8; }

// Both FAISS and BLAS would spread over all cores by themselves, from each of our threads, and spin against each
// other there. (OpenBLAS comes in a pthread and an OpenMP build; the number of threads of the first is global, that
// of the second the caller's. Which one is installed is known at run time only.)
class OneOmpThread {
 public:
  OneOmpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOmpThread() { omp_set_num_threads(before_); }

 private:
  const int before_;
};

void PrepareProcess() {
  static std::once_flag once;
  std::call_once(once, [] {
    OneOmpThread one;
    // Debian's build is scalar below 20 rows, unless BLAS is used for them too.
    faiss::distance_compute_blas_threshold = 1;
    using SetThreads = void (*)(int);
    if (auto set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(1);
  });
}

// An upper bound of the true norm: float64 sums of up to 4,096 squares are off by less than 2^-40 of themselves.
double NormBound(const float* x, uint32_t dim) {
  double sum = 0;
  for (uint32_t e = 0; e < dim; ++e) sum += double{x[e]} * double{x[e]};
  return std::sqrt(sum) * (1 + 0x1p-40);
}

struct Scored {
  float score;
  uint32_t position;
};

}  // namespace

// By segment: [rows, asked] scores and labels; a label is a position within the segment, or -1.
struct FaissFlatIndex::Proposal {
  struct Part {
    uint32_t asked = 0;
    std::vector<float> scores;
    std::vector<faiss::Index::idx_t> labels;
  };
  uint32_t ask = 0;
  std::vector<Part> parts;
};

FaissFlatIndex::FaissFlatIndex(const IndexOptions& options)
    : dim_(options.dim),
      capacity_(options.capacity),
      segment_rows_(SegmentRows(options)),
      parallel_(options.parallel),
      key_norm_(UnitNormBound(static_cast<int>(options.dim))) {
  PrepareProcess();
}

FaissFlatIndex::~FaissFlatIndex() = default;

std::vector<SearchResult> FaissFlatIndex::Search(const KeyMatrixView& keys, const float* rows,
                                                 absl::Span<const uint32_t> want) {
  std::vector<SearchResult> results(want.size());
  std::vector<uint32_t> todo(want.size());
  for (uint32_t row = 0; row < todo.size(); ++row) todo[row] = row;
  std::vector<uint32_t> scan;
  for (int round = 0; round < kRounds && !todo.empty(); ++round) {
    std::vector<uint32_t> failed;
    SearchRound(keys, rows, want, round, todo, &results, &failed, &scan);
    if (round == 0) stats_.uncertified_rows += failed.size();
    todo = std::move(failed);
  }
  scan.insert(scan.end(), todo.begin(), todo.end());
  Scan(keys, rows, want, scan, &results);
  return results;
}

void FaissFlatIndex::SearchRound(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                                 int round, const std::vector<uint32_t>& todo, std::vector<SearchResult>* results,
                                 std::vector<uint32_t>* failed, std::vector<uint32_t>* scan) {
  const auto ask_of = [&](uint32_t row) { return (uint64_t{want[row]} + Margin(want[row])) << round; };
  std::vector<float> packed;
  std::vector<uint8_t> certified;
  for (size_t at = 0; at < todo.size();) {
    // The rows of one call, and the most that any of them asks for.
    std::vector<uint32_t> call;
    uint64_t ask = 0;
    for (; at < todo.size() && call.size() < kCallRows; ++at) {
      const uint64_t row_ask = ask_of(todo[at]);
      if (row_ask >= keys.live_count) {
        scan->push_back(todo[at]);  // all keys are wanted, or nearly so
        continue;
      }
      if (!call.empty() && (call.size() + 1) * std::max(ask, row_ask) * segments_.size() > kCallCandidates) break;
      ask = std::max(ask, row_ask);
      call.push_back(todo[at]);
    }
    if (call.empty()) continue;
    packed.resize(call.size() * dim_);
    for (size_t i = 0; i < call.size(); ++i) {
      std::memcpy(packed.data() + i * dim_, rows + size_t{call[i]} * dim_, sizeof(float) * dim_);
    }
    Proposal proposal;
    if (!usable_ || !Propose(packed.data(), call.size(), static_cast<uint32_t>(ask), &proposal)) {
      failed->insert(failed->end(), call.begin(), call.end());
      continue;
    }
    certified.assign(call.size(), 0);
    constexpr size_t kGroup = 16;
    RunParallel(parallel_, (call.size() + kGroup - 1) / kGroup, [&](size_t group) {
      for (size_t i = group * kGroup; i < std::min(call.size(), (group + 1) * kGroup); ++i) {
        const uint32_t row = call[i];
        certified[i] = Certify(keys, packed.data() + i * dim_, want[row], proposal, i, &(*results)[row]) ? 1 : 0;
      }
    });
    for (size_t i = 0; i < call.size(); ++i) {
      if (certified[i] == 0) failed->push_back(call[i]);
    }
  }
}

bool FaissFlatIndex::Propose(const float* rows, size_t row_count, uint32_t ask, Proposal* proposal) const {
  try {
    proposal->ask = ask;
    proposal->parts.resize(segments_.size());
    std::vector<uint8_t> searched(segments_.size(), 0);
    RunParallel(parallel_, segments_.size(), [&](size_t s) {
      try {
        OneOmpThread one;
        const faiss::IndexFlatIP& segment = *segments_[s];
        Proposal::Part& part = proposal->parts[s];
        part.asked = static_cast<uint32_t>(std::min<int64_t>(ask, segment.ntotal));
        part.scores.resize(row_count * part.asked);
        part.labels.resize(row_count * part.asked);
        if (part.asked > 0) {
          segment.search(static_cast<faiss::Index::idx_t>(row_count), rows, part.asked, part.scores.data(),
                         part.labels.data());
        }
        searched[s] = 1;
      } catch (...) {  // must not leave another thread's task
      }
    });
    return std::find(searched.begin(), searched.end(), 0) == searched.end();
  } catch (...) {
    return false;
  }
}

bool FaissFlatIndex::Certify(const KeyMatrixView& keys, const float* row, uint32_t want, const Proposal& proposal,
                             size_t at, SearchResult* result) const {
  std::vector<Scored> listed;
  listed.reserve(size_t{proposal.ask} * proposal.parts.size());
  for (size_t s = 0; s < proposal.parts.size(); ++s) {
    const Proposal::Part& part = proposal.parts[s];
    for (size_t i = at * part.asked; i < (at + 1) * part.asked; ++i) {
      if (part.labels[i] < 0) continue;
      listed.push_back({part.scores[i], static_cast<uint32_t>(s * segment_rows_ + part.labels[i])});
    }
  }
  if (listed.size() < proposal.ask) return false;  // scores that are not numbers: FAISS passes over them
  // The best of all segments; what falls away here, or is in no list, has at most the worst score that stays.
  std::nth_element(listed.begin(), listed.begin() + (proposal.ask - 1), listed.end(),
                   [](const Scored& a, const Scored& b) { return a.score > b.score; });
  listed.resize(proposal.ask);
  const double worst = listed.back().score;

  std::vector<const float*> key_rows;
  std::vector<Candidate>& candidates = result->candidates;
  candidates.clear();
  for (const Scored& s : listed) {
    if (s.position >= keys.rows || !keys.IsLive(s.position)) continue;
    candidates.push_back({s.position, 0});
    key_rows.push_back(keys.data + size_t{s.position} * keys.stride);
  }
  if (candidates.size() < want) return false;
  std::vector<float> similarities(candidates.size());
  SimilarityGather(row, key_rows, static_cast<int>(dim_), similarities.data());
  for (size_t i = 0; i < candidates.size(); ++i) candidates[i].similarity = similarities[i];
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return Before(a, b); });
  candidates.resize(want);

  const double eps = SgemmErrorBound(static_cast<int>(dim_), NormBound(row, dim_), key_norm_);
  result->bound = SearchResult::Bound::kLast;
  const double others = worst + eps;  // rounded to nearest: hence the 2^-50
  return double{candidates.back().similarity} > others + std::abs(others) * 0x1p-50;
}

void FaissFlatIndex::Scan(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                          const std::vector<uint32_t>& todo, std::vector<SearchResult>* results) {
  if (todo.empty()) return;
  std::vector<float> packed(todo.size() * dim_);
  std::vector<uint32_t> wanted(todo.size());
  for (size_t i = 0; i < todo.size(); ++i) {
    std::memcpy(packed.data() + i * dim_, rows + size_t{todo[i]} * dim_, sizeof(float) * dim_);
    wanted[i] = want[todo[i]];
  }
  std::vector<SearchResult> scanned = CanonicalScan(keys, packed.data(), wanted, parallel_);
  for (size_t i = 0; i < todo.size(); ++i) (*results)[todo[i]] = std::move(scanned[i]);
  stats_.scanned_rows += uint64_t{todo.size()} * keys.rows;
}

float* FaissFlatIndex::RowAt(uint32_t position) {
  return segments_[position / segment_rows_]->get_xb() + size_t{position % segment_rows_} * dim_;
}

void FaissFlatIndex::Put(const KeyMatrixView& keys, uint32_t position) {
  const uint32_t s = position / segment_rows_;
  while (segments_.size() <= s) {
    auto segment = std::make_unique<faiss::IndexFlatIP>(dim_);
    const uint64_t rows = std::min<uint64_t>(segment_rows_, capacity_ - segments_.size() * uint64_t{segment_rows_});
    segment->codes.reserve(rows * segment->code_size);  // address space: rows take memory when they are resized to
    segments_.push_back(std::move(segment));
  }
  // A segment that is passed over, as all its positions are free, stays empty; rows in between are zeros.
  faiss::IndexFlatIP& segment = *segments_[s];
  const size_t rows = position % segment_rows_ + 1;
  if (segment.codes.size() < rows * segment.code_size) {
    segment.codes.resize(rows * segment.code_size);
    segment.ntotal = static_cast<faiss::Index::idx_t>(rows);
  }
  const float* key = keys.data + size_t{position} * keys.stride;
  std::memcpy(RowAt(position), key, sizeof(float) * dim_);

}

void FaissFlatIndex::Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  if (!usable_) return;
  try {
    for (const uint32_t position : positions) Put(keys, position);
  } catch (...) {
    usable_ = false;  // a copy that lacks a key could miss it
    segments_.clear();
  }
}

void FaissFlatIndex::Erase(absl::Span<const uint32_t> positions) {
  if (!usable_) return;
  for (const uint32_t position : positions) {
    const uint32_t s = position / segment_rows_;
    if (s >= segments_.size() || position % segment_rows_ >= segments_[s]->ntotal) continue;  // was never here
    std::memset(RowAt(position), 0, sizeof(float) * dim_);
  }
}

void FaissFlatIndex::Rebuild(const KeyMatrixView& keys) {
  segments_.clear();
  key_norm_ = UnitNormBound(static_cast<int>(dim_));
  usable_ = true;
  for (uint32_t position = 0; position < keys.rows && usable_; ++position) {
    if (keys.IsLive(position)) Upsert(keys, {&position, 1});
  }
}

uint64_t FaissFlatIndex::MemoryBytes() const {
  uint64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->codes.size() + sizeof(*segment);
  return bytes;
}

}  // namespace evoke
