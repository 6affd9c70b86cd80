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
#include "server/similarity/error_bound.h"

namespace evoke {
namespace {

// FAISS begins each segment without a threshold and keeps many candidates until it has found a good one: at
// 524,288 x 128 and 64 rows one segment takes 162 ms of processor time, four 196, eight 225. So there are
// several only for threads to share, or when one would be a reservation that the kernel refuses.
constexpr uint32_t kParallelSegments = 4;
constexpr uint32_t kMinSegmentRows = 4096;
constexpr uint64_t kMaxSegmentBytes = uint64_t{1} << 30;
// Entries of one call's lists, over all segments: 12 bytes each, 24 MiB; FAISS takes twice that for those
// segments that are being searched.
constexpr size_t kCallEntries = size_t{1} << 21;

uint32_t SegmentRows(const IndexOptions& options) {
  const uint64_t rows = options.parallel ? options.capacity / kParallelSegments + 1 : options.capacity;
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(rows, kMinSegmentRows, kMaxSegmentBytes / (sizeof(float) * options.dim)));
}

// Both FAISS and BLAS would spread over all cores by themselves, from each of our threads, and spin against
// each other there. (OpenBLAS comes in a pthread and an OpenMP build; the number of threads of the first is
// global, that of the second the caller's. Which one is installed is known at run time only.)
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

// An upper bound of the true norm: float64 sums of up to 4,096 squares are off by less than 2^-40 of
// themselves.
double NormBound(const float* x, uint32_t dim) {
  double sum = 0;
  for (uint32_t e = 0; e < dim; ++e) sum += double{x[e]} * double{x[e]};
  return std::sqrt(sum) * (1 + 0x1p-40);
}

}  // namespace

// [rows, asked] scores and labels; a label is a position within the segment, or -1.
struct FaissFlatIndex::Part {
  uint32_t asked = 0;
  std::vector<float> scores;
  std::vector<faiss::Index::idx_t> labels;
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
  return CertifiedSearch(keys, rows, want, this, parallel_, &stats_);
}

bool FaissFlatIndex::Score(const float* rows, size_t row_count, uint32_t ask,
                           std::vector<std::vector<Scored>>* lists) {
  if (!usable_) return false;
  std::vector<Part> parts(segments_.size());
  std::vector<uint8_t> searched(segments_.size(), 0);
  RunParallel(parallel_, segments_.size(),
              [&](size_t s) { searched[s] = SearchSegment(s, rows, row_count, ask, &parts[s]) ? 1 : 0; });
  if (std::find(searched.begin(), searched.end(), 0) != searched.end()) return false;
  lists->resize(row_count);
  constexpr size_t kGroupRows = 16;
  RunParallel(parallel_, (row_count + kGroupRows - 1) / kGroupRows, [&](size_t group) {
    const size_t end = std::min(row_count, (group + 1) * kGroupRows);
    for (size_t row = group * kGroupRows; row < end; ++row) (*lists)[row] = BestOf(parts, row, ask);
  });
  return true;
}

bool FaissFlatIndex::SearchSegment(size_t s, const float* rows, size_t row_count, uint32_t ask,
                                   Part* part) const {
  try {
    OneOmpThread one;
    const faiss::IndexFlatIP& segment = *segments_[s];
    part->asked = static_cast<uint32_t>(std::min<int64_t>(ask, segment.ntotal));
    part->scores.resize(row_count * part->asked);
    part->labels.resize(row_count * part->asked);
    if (part->asked == 0) return true;
    segment.search(static_cast<faiss::Index::idx_t>(row_count), rows, part->asked, part->scores.data(),
                   part->labels.data());
    return true;
  } catch (...) {  // FAISS's own, or no memory; it must not leave another thread's task
    return false;
  }
}

// What falls away here, or is in no segment's list, scores at most what stays: each full list's worst is at
// most the ask-th best of all.
std::vector<ScoreSource::Scored> FaissFlatIndex::BestOf(const std::vector<Part>& parts, size_t row,
                                                        uint32_t ask) const {
  std::vector<Scored> best;
  best.reserve(size_t{ask} * parts.size());
  for (size_t s = 0; s < parts.size(); ++s) {
    const Part& part = parts[s];
    for (size_t i = row * part.asked; i < (row + 1) * part.asked; ++i) {
      // FAISS passes over scores that are not numbers, and then says -1: the list comes out too short.
      if (part.labels[i] < 0) continue;
      best.push_back({part.scores[i], static_cast<uint32_t>(s * segment_rows_ + part.labels[i])});
    }
  }
  if (best.size() > ask) {
    std::nth_element(best.begin(), best.begin() + (ask - 1), best.end(),
                     [](const Scored& a, const Scored& b) { return a.score > b.score; });
    best.resize(ask);
  }
  return best;
}

double FaissFlatIndex::ErrorBound(const float* row) const {
  return SgemmErrorBound(static_cast<int>(dim_), NormBound(row, dim_), key_norm_);
}

size_t FaissFlatIndex::MaxCandidates() const {
  return kCallEntries / std::max<size_t>(1, segments_.size());
}

float* FaissFlatIndex::RowAt(uint32_t position) {
  return segments_[position / segment_rows_]->get_xb() + size_t{position % segment_rows_} * dim_;
}

void FaissFlatIndex::Put(const KeyMatrixView& keys, uint32_t position) {
  const uint32_t s = position / segment_rows_;
  while (segments_.size() <= s) {
    auto segment = std::make_unique<faiss::IndexFlatIP>(dim_);
    const uint64_t rows =
        std::min<uint64_t>(segment_rows_, capacity_ - segments_.size() * uint64_t{segment_rows_});
    segment->codes.reserve(rows *
                           segment->code_size);  // address space: rows take memory when they are resized to
    segments_.push_back(std::move(segment));
  }
  // A segment that is passed over, as all its positions are free, stays empty; rows in between are zeros.
  faiss::IndexFlatIP& segment = *segments_[s];
  const size_t rows = position % segment_rows_ + 1;
  if (segment.codes.size() < rows * segment.code_size) {
    segment.codes.resize(rows * segment.code_size);
    segment.ntotal = static_cast<faiss::Index::idx_t>(rows);
  }
  float* key = RowAt(position);
  Join(keys.row(position), static_cast<int>(dim_), key);
  key_norm_ = std::max(key_norm_, NormBound(key, dim_));
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
    if (s >= segments_.size() || position % segment_rows_ >= segments_[s]->ntotal)
      continue;  // was never here
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

std::vector<uint32_t> FaissFlatIndex::Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const {
  std::vector<uint32_t> differ;
  if (!usable_) return differ;  // there is no copy
  std::vector<float> expected(dim_);
  for (const uint32_t position : positions) {
    const uint32_t s = position / segment_rows_;
    const bool held = s < segments_.size() && position % segment_rows_ < segments_[s]->ntotal;
    const bool live = position < keys.rows && keys.IsLive(position);
    std::fill(expected.begin(), expected.end(), 0.0f);
    if (live) Join(keys.row(position), static_cast<int>(dim_), expected.data());
    const float* copy = held ? segments_[s]->get_xb() + size_t{position % segment_rows_} * dim_ : nullptr;
    const bool same = held ? std::memcmp(copy, expected.data(), sizeof(float) * dim_) == 0 : !live;
    if (!same) differ.push_back(position);
  }
  return differ;
}

uint64_t FaissFlatIndex::MemoryBytes() const {
  uint64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->codes.size() + sizeof(*segment);
  return bytes;
}

uint64_t FaissFlatIndex::PlannedBytes(const IndexOptions& options) {
  // As many segments as threads may share; without a `parallel` there are fewer.
  const uint64_t rows = std::min<uint64_t>(SegmentRows(options), options.capacity / kParallelSegments + 1);
  const uint64_t segments = options.capacity / std::max<uint64_t>(rows, kMinSegmentRows) + 1;
  return uint64_t{options.capacity} * options.dim * sizeof(float) + segments * sizeof(faiss::IndexFlatIP);
}

}  // namespace evoke
