#include "client/load/step_ranges.h"

#include <iterator>

namespace evoke::load {

bool StepRanges::Add(uint64_t after, uint64_t last) {
  if (last <= after) return true;
  auto above = ranges_.upper_bound(after);  // the first range that begins after this one
  if (above != ranges_.end() && above->first < last) return false;
  auto below = above == ranges_.begin() ? ranges_.end() : std::prev(above);
  if (below != ranges_.end() && below->second > after) return false;

  count_ += last - after;
  if (above != ranges_.end() && above->first == last) {
    last = above->second;
    ranges_.erase(above);
  }
  if (below != ranges_.end() && below->second == after) {
    below->second = last;
  } else {
    ranges_[after] = last;
  }
  return true;
}

bool StepRanges::IsExactly(uint64_t after, uint64_t last) const {
  if (after == last) return ranges_.empty();
  return ranges_.size() == 1 && ranges_.begin()->first == after && ranges_.begin()->second == last;
}

}  // namespace evoke::load
