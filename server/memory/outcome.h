// What became of a row. The numbers are those of evoke.v1.Outcome.
#pragma once

#include <cstdint>
#include <string_view>

namespace evoke {

enum class Outcome : uint8_t {
  kNone = 1,     // did not write
  kHit = 2,      // nearest neighbor had the right value: averaged
  kMerged = 3,   // a miss that reinforced another neighbor of its value
  kFolded = 4,   // a miss that reinforced a slot that its batch had just taken
  kFree = 5,     // a miss written into a free slot
  kEvict = 6,    // a miss that replaced one of the oldest slots
  kDropped = 7,  // a miss of an ATOMIC batch that found no slot
};
inline constexpr int kOutcomeCount = 8;  // an array index by Outcome fits

inline std::string_view OutcomeName(Outcome outcome) {
  constexpr std::string_view kNames[] = {"?", "none", "hit", "merged", "folded", "free", "evict", "dropped"};
  return kNames[static_cast<int>(outcome)];
}

// One slot that a miss took from the value that had it.
struct Eviction {
  uint64_t slot = 0;
  int64_t old_value = 0;
  int64_t new_value = 0;
  uint64_t age = 0;   // steps since the old value was last written
  uint64_t step = 0;  // of the observation that took the slot
};

}  // namespace evoke
