// The last two minutes, second by second, and how long things took in the last one of them.
//
// Both are thread-compatible, of a fixed size, and count in O(1) without allocating. Times may go back a little, as the
// wall clock does: what comes late is counted in its own second while that is still kept.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace evoke {

// `T` is a struct of counts, all 0 when made.
template <typename T>
class SecondRing {
 public:
  static constexpr int64_t kSeconds = 120;

  // The counts of the second of `now`.
  T& At(absl::Time now) {
    const int64_t second = absl::ToUnixSeconds(now);
    Place& place = places_[Index(second)];
    if (place.second != second) place = {.second = second};
    return place.counts;
  }
  // Of the kSeconds seconds before that of `now`, which is not over; the oldest first.
  std::vector<T> Before(absl::Time now) const {
    std::vector<T> seconds(kSeconds);
    const int64_t end = absl::ToUnixSeconds(now);
    for (const Place& place : places_) {
      if (place.second < end && place.second >= end - kSeconds)
        seconds[static_cast<size_t>(place.second - (end - kSeconds))] = place.counts;
    }
    return seconds;
  }

 private:
  struct Place {
    int64_t second = -1;
    T counts = {};
  };
  // One more than is shown, for the second under way.
  static constexpr size_t kPlaces = kSeconds + 1;
  static size_t Index(int64_t second) { return static_cast<size_t>(second) % kPlaces; }
  std::array<Place, kPlaces> places_;
};

// Quantiles of the last minute, within 10 %: six slices of ten seconds, buckets that grow by a quarter of an octave.
class LatencyWindow {
 public:
  void Add(absl::Time now, absl::Duration latency) {
    const int64_t number = Number(now);
    Slice& slice = slices_[static_cast<size_t>(number) % kSlices];
    if (slice.number != number) slice = {.number = number};
    ++slice.counts[BucketOf(absl::ToDoubleSeconds(latency))];
  }
  // Seconds below which the share `quantile` was; 0 when there was nothing.
  double Quantile(absl::Time now, double quantile) const {
    std::array<uint64_t, kBuckets> counts{};
    uint64_t all = 0;
    const int64_t number = Number(now);
    for (const Slice& slice : slices_) {
      if (slice.number > number || slice.number <= number - static_cast<int64_t>(kSlices)) continue;
      for (size_t i = 0; i < kBuckets; ++i) {
        counts[i] += slice.counts[i];
        all += slice.counts[i];
      }
    }
    if (all == 0) return 0;
    const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(quantile * static_cast<double>(all))));
    uint64_t below = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      below += counts[i];
      if (below >= wanted) return kLeast * std::exp2((static_cast<double>(i) + 0.5) / kSteps);
    }
    return 0;
  }

 private:
  static constexpr size_t kSlices = 6;
  static constexpr int64_t kSliceSeconds = 10;
  static constexpr double kLeast = 1e-5;  // 10 us; 22 octaves above it are 42 s
  static constexpr double kSteps = 4;     // an octave
  static constexpr size_t kBuckets = 88;
  struct Slice {
    int64_t number = -1;
    std::array<uint32_t, kBuckets> counts = {};
  };
  static int64_t Number(absl::Time now) { return absl::ToUnixSeconds(now) / kSliceSeconds; }
  static size_t BucketOf(double seconds) {
    const double place = std::floor(std::log2(std::max(seconds, kLeast) / kLeast) * kSteps);
    return static_cast<size_t>(std::min(place, static_cast<double>(kBuckets - 1)));
  }
  std::array<Slice, kSlices> slices_;
};

}  // namespace evoke
