#include "client/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace evoke::load {
namespace {

constexpr int kSubBits = 8;                         // 2^8 buckets for each power of two
constexpr int64_t kMaxNs = (int64_t{1} << 42) - 1;  // 73 minutes

// Values of `bits` significant bits lose their lowest `bits - 9`; what is left, 256 to 511, names the bucket
// among those of the same power. Below 512 nothing is lost, and the same formula counts on from 0.
constexpr size_t BucketOf(int64_t ns) {
  const int shift = std::max(0, static_cast<int>(std::bit_width(static_cast<uint64_t>(ns))) - kSubBits - 1);
  return (static_cast<size_t>(shift) << kSubBits) + static_cast<size_t>(ns >> shift);
}

// The largest value in the bucket.
constexpr int64_t TopOf(size_t bucket) {
  const size_t power = bucket >> kSubBits;
  const int shift = power <= 1 ? 0 : static_cast<int>(power) - 1;
  const int64_t lead = static_cast<int64_t>(bucket) - (int64_t{shift} << kSubBits);
  return ((lead + 1) << shift) - 1;
}

constexpr size_t kBuckets = BucketOf(kMaxNs) + 1;
static_assert(kBuckets == 8960);
static_assert(TopOf(BucketOf(511)) == 511 && TopOf(BucketOf(512)) == 513 && TopOf(kBuckets - 1) == kMaxNs);

}  // namespace

void LatencyHistogram::Record(absl::Duration latency) {
  const int64_t ns = std::clamp<int64_t>(absl::ToInt64Nanoseconds(latency), 0, kMaxNs);
  if (counts_.empty()) counts_.resize(kBuckets);
  ++counts_[BucketOf(ns)];
  ++count_;
  sum_ns_ += static_cast<double>(ns);
  min_ns_ = std::min(min_ns_, ns);
  max_ns_ = std::max(max_ns_, ns);
}

void LatencyHistogram::Add(const LatencyHistogram& other) {
  if (other.count_ == 0) return;
  if (counts_.empty()) counts_.resize(kBuckets);
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

absl::Duration LatencyHistogram::Percentile(double percentile) const {
  if (count_ == 0) return absl::ZeroDuration();
  const double share = std::clamp(percentile, 0.0, 100.0) / 100.0;
  const uint64_t rank = std::clamp<uint64_t>(
      static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_) - 1e-9)), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= rank) return absl::Nanoseconds(std::min(TopOf(i), max_ns_));
  }
  return Max();
}

absl::Duration LatencyHistogram::Mean() const {
  return count_ == 0 ? absl::ZeroDuration() : absl::Nanoseconds(sum_ns_ / static_cast<double>(count_));
}

}  // namespace evoke::load
