#include "server/memory/row_score.h"

#include <algorithm>

#include "server/similarity/gradient.h"
#include "server/similarity/softmax.h"

namespace evoke {

void PrepareResult(const MemorySpec& spec, size_t rows, ObserveForm form, bool confidence_gradient,
                   BatchResult* result) {
  result->rows = static_cast<uint32_t>(rows);
  result->outcomes.assign(rows, Outcome::kNone);
  result->slots.assign(rows, BatchResult::kNoSlot);
  result->answered.assign(rows, 0);
  result->values.assign(rows, 0);
  result->confidences.assign(rows, 0);
  result->losses.assign(rows, 0);
  result->positive_found.assign(rows, 0);
  result->negative_found.assign(rows, 0);
  const size_t floats = rows * spec.key_dim;
  if (form == ObserveForm::kGradient) result->gradients.assign(floats, 0);
  if (form == ObserveForm::kKeys) {
    result->positive_keys.assign(floats, 0);
    result->negative_keys.assign(floats, 0);
  }
  if (confidence_gradient) result->confidence_gradients.assign(floats, 0);
}

std::vector<double> NeighborWeights(absl::Span<const ScoredSlot> neighbors, double t) {
  std::vector<float> similarities(neighbors.size());
  for (size_t i = 0; i < neighbors.size(); ++i) similarities[i] = neighbors[i].similarity;
  std::vector<double> weights(neighbors.size());
  Softmax(similarities, t, absl::MakeSpan(weights));
  return weights;
}

namespace {

// One side of the margin; `known` turns false when a key that is wanted is missing.
MarginSide SideOf(const TurnView& view, const std::optional<ScoredSlot>& side, bool want_key, bool* known,
                  Need* need) {
  if (!side) return {};
  MarginSide margin_side;
  if (want_key) {
    margin_side.key = view.Key(side->slot, need);
    *known &= margin_side.key != nullptr;
  }
  return margin_side;
}

bool ConfidenceGradientOf(const TurnView& view, const Judgement& judgement, const RowToScore& row,
                          absl::Span<const double> weights, float* out, Need* need) {
  std::vector<const float*> keys;
  keys.reserve(judgement.neighbors.size());
  bool known = true;
  for (const ScoredSlot& n : judgement.neighbors) {
    keys.push_back(view.Key(n.slot, need));
    known &= keys.back() != nullptr;
  }
  if (!known) return false;
  ConfidenceGradient(view.row(row.view_row), row.norm, keys, weights, view.spec().inverse_temperature,
                     static_cast<int>(view.spec().key_dim), out);
  return true;
}

}  // namespace

bool ScoreRow(const TurnView& view, const Judgement& judgement, const RowToScore& row, ObserveForm form,
              bool confidence_gradient, BatchResult* result, Need* need) {
  if (judgement.neighbors.empty()) return true;  // an empty memory: no answer, no loss
  const int dim = static_cast<int>(view.spec().key_dim);
  const size_t i = row.index;
  result->answered[i] = 1;
  result->values[i] = judgement.neighbors[0].value;
  result->positive_found[i] = judgement.positive.has_value();
  result->negative_found[i] = judgement.negative.has_value();
  const std::vector<double> weights = NeighborWeights(judgement.neighbors, view.spec().inverse_temperature);
  result->confidences[i] = Confidence(weights);

  const auto similarity = [](const std::optional<ScoredSlot>& side) {
    return side ? std::optional<float>(side->similarity) : std::nullopt;
  };
  const float loss = MarginLoss(similarity(judgement.positive), similarity(judgement.negative), view.spec().margin);
  result->losses[i] = loss;

  bool known = true;
  if (form == ObserveForm::kGradient || form == ObserveForm::kKeys) {
    const bool want_keys = form == ObserveForm::kKeys || loss > 0;
    const MarginSide p = SideOf(view, judgement.positive, want_keys, &known, need);
    const MarginSide n = SideOf(view, judgement.negative, want_keys, &known, need);
    if (known && form == ObserveForm::kGradient && loss > 0) {
      LossGradient(view.row(row.view_row), row.norm, p, n, loss, dim, &result->gradients[i * dim]);
    } else if (known && form == ObserveForm::kKeys) {
      if (p.key) std::copy(p.key, p.key + dim, &result->positive_keys[i * dim]);
      if (n.key) std::copy(n.key, n.key + dim, &result->negative_keys[i * dim]);
    }
  }
  if (confidence_gradient && !ConfidenceGradientOf(view, judgement, row, weights,
                                                   &result->confidence_gradients[i * dim], need)) {
    known = false;
  }
  return known;
}

}  // namespace evoke
