// The steps that a run was told are its own: each may be given once.
#pragma once

#include <cstdint>
#include <map>

namespace evoke::load {

// A set of ranges (after, last]. Kept merged, so that a run of any length takes a few entries: its holes are
// the calls under way. Thread-compatible.
class StepRanges {
 public:
  // False, and nothing changes, when a step of the range is in the set already. An empty range is always
  // fine.
  bool Add(uint64_t after, uint64_t last);

  uint64_t count() const { return count_; }  // steps
  // Whether the set is exactly (after, last].
  bool IsExactly(uint64_t after, uint64_t last) const;

 private:
  std::map<uint64_t, uint64_t> ranges_;  // after -> last; neither overlapping nor touching
  uint64_t count_ = 0;
};

}  // namespace evoke::load
