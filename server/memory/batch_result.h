// What a batch of labelled rows is answered: one entry a row, in the order of the request.
#pragma once

#include <cstdint>
#include <vector>

#include "server/memory/outcome.h"

namespace evoke {

// What is asked for beside outcomes.
enum class ObserveForm : uint8_t {
  kOutcomes,  // Update: outcomes and slots alone
  kScores,    // answers, confidences, losses
  kGradient,  // and d loss / d x
  kKeys,      // and the positive and negative keys
};

// Rows with skip are zeros with outcome kNone.
struct BatchResult {
  static constexpr uint64_t kNoSlot = ~uint64_t{0};
  uint32_t rows = 0;
  std::vector<uint8_t> answered;        // [rows] 0 or 1: there was a neighbor
  std::vector<int64_t> values;          // [rows] of the nearest neighbor
  std::vector<float> confidences;       // [rows]
  std::vector<float> losses;            // [rows]
  std::vector<uint8_t> positive_found;  // [rows] 0 or 1
  std::vector<uint8_t> negative_found;  // [rows] 0 or 1
  std::vector<Outcome> outcomes;        // [rows]
  std::vector<uint64_t> slots;          // [rows] kNoSlot where none was written
  std::vector<float> gradients;             // [rows, dim] form kGradient
  std::vector<float> confidence_gradients;  // [rows, dim] when asked for
  std::vector<float> positive_keys;         // [rows, dim] form kKeys
  std::vector<float> negative_keys;         // [rows, dim] form kKeys
};

}  // namespace evoke
