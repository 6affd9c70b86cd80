// Slots as values: what a shard tells about them, and what the decision is made from. No pointer into any table.
#pragma once

#include <cstdint>
#include <vector>

#include "server/similarity/rank.h"
#include "storage/ids.h"

namespace evoke {

// A live slot and its canonical similarity to one row.
struct ScoredSlot {
  uint64_t slot = 0;
  float similarity = 0;
  int64_t value = 0;
  uint64_t written_step = 0;
  uint32_t hits = 0;
  Rank rank() const { return {similarity, slot}; }
};

// A live slot without a row; `row_hash` is its term of the state hash.
struct SlotState {
  uint64_t slot = 0;
  int64_t value = 0;
  uint64_t written_step = 0;
  uint32_t hits = 0;
  Hash128 row_hash;
};

// The same with its key, [key_dim] unit norm.
struct SlotContent {
  SlotState state;
  std::vector<float> key;
};

// What is known of the live slots that a list leaves out.
struct Bound {
  enum class Kind : uint8_t {
    kComplete,  // there are none
    kRank,      // each of them comes strictly after `rank` in the order of neighbors
    kUnproven,  // nothing (approximate indexes only)
  };
  Kind kind = Kind::kComplete;
  Rank rank;
};

// Live slots and observations (sum of 1 + hits) of a value.
struct ValueCount {
  int64_t value = 0;
  uint64_t live_slots = 0;
  uint64_t observations = 0;
};

}  // namespace evoke
