// What a trainer needs to train the network below a memory: a row's loss, and its gradients with respect to
// the embedding that the client sent (semantics.md, section 4).
//
// All vectors are float32 [dim]. `q` is the row as normalised and `norm` the norm that it was divided by, so
// gradients are with respect to x = q * norm. Sums are in float64, in neighbor order, rounded once to
// float32. Thread-safe and pure. Outputs must not overlap inputs.
#pragma once

#include <optional>

#include "absl/types/span.h"

namespace evoke {

// The positive (first neighbor of the right value) or the negative (first of another value) of a row. An
// absent side counts as similarity 0 and as a zero vector.
struct MarginSide {
  const float* key = nullptr;  // [dim]; null if the side is absent
  float similarity = 0;        // of q and key; no gradient depends on it
};

// max(0, (negative - positive) + alpha) of the two similarities in float32, in this order. An absent side is
// nullopt; 0 if both are.
float MarginLoss(std::optional<float> positive, std::optional<float> negative, float alpha);

// out[dim] = d loss / d x; zeros where `loss` is 0.
void LossGradient(const float* q, float norm, const MarginSide& positive, const MarginSide& negative,
                  float loss, int dim, float* out);

// out[dim] = d confidence / d x. keys[i] is the i-th neighbor's key and weights[i] its softmax weight
// (Softmax, at inverse temperature t); zeros with fewer than two neighbors. Requires: keys.size() ==
// weights.size().
void ConfidenceGradient(const float* q, float norm, absl::Span<const float* const> keys,
                        absl::Span<const double> weights, double t, int dim, float* out);

}  // namespace evoke
