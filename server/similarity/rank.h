// The order of neighbors (semantics.md, section 2): similarity descending as IEEE numbers, so that -0 equals +0,
// then slot id ascending.
#pragma once

#include <cstdint>

namespace evoke {

struct Rank {
  float similarity = 0;
  uint64_t slot = 0;
};

// True when `a` is the nearer neighbor. A strict weak order for similarities that are not NaN.
inline bool Before(const Rank& a, const Rank& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.slot < b.slot);
}

}  // namespace evoke
