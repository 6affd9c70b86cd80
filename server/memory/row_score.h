// A judged row's answer, confidence, loss and gradients (semantics.md, sections 3 and 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/memory/batch_result.h"
#include "server/memory/turn_view.h"
#include "server/memory/write_rule.h"

namespace evoke {

struct RowToScore {
  uint32_t view_row = 0;
  float norm = 0;    // of the embedding before normalisation
  size_t index = 0;  // of the row in the result
};

// Zeros for `rows` rows, as large as the form asks for; every outcome kNone.
void PrepareResult(const MemorySpec& spec, size_t rows, ObserveForm form, bool confidence_gradient,
                   BatchResult* result);

// Fills the row's entries of `result`. False when the view lacks a key; nothing that it wrote matters then.
bool ScoreRow(const TurnView& view, const Judgement& judgement, const RowToScore& row, ObserveForm form,
              bool confidence_gradient, BatchResult* result, Need* need);

// Softmax weights of neighbors in their order, at inverse temperature t.
std::vector<double> NeighborWeights(absl::Span<const ScoredSlot> neighbors, double t);

}  // namespace evoke
