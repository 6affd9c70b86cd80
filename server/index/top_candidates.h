// The best `want` of a stream of candidates, with a floor below which no other can be among them.
//
// A pool of up to twice the wanted number is cut to the best half when it is full: O(1) amortised a
// candidate, where a heap would take log(want) for each that passes. Thread-compatible.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "server/index/index.h"

namespace evoke {

// The order of neighbors; positions of a shard ascend with slot ids.
inline bool Before(const Candidate& a, const Candidate& b) {
  return Before(Rank{a.similarity, a.position}, Rank{b.similarity, b.position});
}

class TopCandidates {
 public:
  explicit TopCandidates(uint32_t want) : want_(want), limit_(size_t{want} * 2 + 32) {}

  // A candidate below the floor cannot be among the best. Requires: positions come in ascending order, so
  // that of equal similarities the earlier ones stay.
  float floor() const { return floor_; }
  // Someone else has `want` candidates that are at least this good.
  void RaiseFloor(float similarity) { floor_ = std::max(floor_, similarity); }
  // Returns true when the floor rose; worst() is then what to tell others.
  bool Push(Candidate c) {
    pool_.push_back(c);
    if (pool_.size() < limit_) return false;
    Cut();
    return true;
  }
  // Requires: Push has just returned true. The similarity of the want-th best.
  float worst() const { return worst_; }

  const std::vector<Candidate>& pool() const { return pool_; }

 private:
  void Cut() {
    std::nth_element(pool_.begin(), pool_.begin() + want_ - 1, pool_.end(),
                     [](const Candidate& a, const Candidate& b) { return Before(a, b); });
    worst_ = pool_[want_ - 1].similarity;
    pool_.resize(want_);
    // All kept ones have lower positions than what follows: it must be better, not equal.
    floor_ = std::max(floor_, std::nextafter(worst_, std::numeric_limits<float>::infinity()));
  }

  uint32_t want_;
  size_t limit_;
  float floor_ = -std::numeric_limits<float>::infinity();
  float worst_ = 0;
  std::vector<Candidate> pool_;
};

}  // namespace evoke
