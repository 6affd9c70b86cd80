// How often which latency was seen, after the model of HdrHistogram: any percentile afterwards, none of the
// values kept.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace evoke::load {

// Buckets are exact below 512 ns and then divide every power of two into 256: what is told is at most 1/256
// above what was recorded, at a microsecond as at a minute. Longer than 73 minutes counts as 73 minutes.
// Count, mean, minimum and maximum are exact.
//
// Thread-compatible. Record is a few instructions; the 70 KiB of counts are taken with the first value, so an
// empty one costs nothing.
class LatencyHistogram {
 public:
  // Below zero counts as zero.
  void Record(absl::Duration latency);
  // As if the other's values had been recorded here.
  void Add(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  // The smallest value that `percentile` of 100 are not above; the exact maximum at 100. Zero when empty.
  absl::Duration Percentile(double percentile) const;
  absl::Duration Max() const { return absl::Nanoseconds(max_ns_); }
  absl::Duration Min() const { return absl::Nanoseconds(count_ == 0 ? 0 : min_ns_); }
  absl::Duration Mean() const;

 private:
  std::vector<uint64_t> counts_;  // empty, or one a bucket
  uint64_t count_ = 0;
  int64_t min_ns_ = INT64_MAX;
  int64_t max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace evoke::load
