#include "server/similarity/gradient.h"

#include <cstddef>
#include <cstring>

#include "absl/container/fixed_array.h"

namespace evoke {
namespace {

// Up to 1,024 dimensions live on the stack (8 KiB).
using Scratch = absl::FixedArray<double, 1024>;

// With q = x / |x|, d q / d x = (I - q q^T) / n: the part of g along q is lost, the rest is scaled.
void ThroughNormalisation(const float* q, float norm, const Scratch& g, float* out) {
  double along = 0;
  for (size_t e = 0; e < g.size(); ++e) along += q[e] * g[e];
  for (size_t e = 0; e < g.size(); ++e) out[e] = static_cast<float>((g[e] - q[e] * along) / norm);
}

}  // namespace

float MarginLoss(std::optional<float> positive, std::optional<float> negative, float alpha) {
  if (!positive && !negative) return 0.0f;
  const float loss = (negative.value_or(0.0f) - positive.value_or(0.0f)) + alpha;
  return loss > 0.0f ? loss : 0.0f;
}

void LossGradient(const float* q, float norm, const MarginSide& positive, const MarginSide& negative,
                  float loss, int dim, float* out) {
  if (!(loss > 0.0f)) {
    std::memset(out, 0, sizeof(float) * static_cast<size_t>(dim));
    return;
  }
  Scratch g(static_cast<size_t>(dim), 0.0);
  for (size_t e = 0; e < g.size(); ++e) {
    const double b = negative.key == nullptr ? 0.0 : negative.key[e];
    const double p = positive.key == nullptr ? 0.0 : positive.key[e];
    g[e] = b - p;
  }
  ThroughNormalisation(q, norm, g, out);
}

// t p_1 sum_{j>1} p_j (k_1 - k_j). The textbook form p_1 (k_1 - sum_j p_j k_j) is the same number, but
// cancels to nothing when p_1 is near 1, which is where a trained memory lives.
void ConfidenceGradient(const float* q, float norm, absl::Span<const float* const> keys,
                        absl::Span<const double> weights, double t, int dim, float* out) {
  Scratch g(static_cast<size_t>(dim), 0.0);
  for (size_t j = 1; j < keys.size(); ++j) {
    const float* first = keys[0];
    const float* key = keys[j];
    const double weight = weights[j];
    for (size_t e = 0; e < g.size(); ++e) g[e] += weight * (static_cast<double>(first[e]) - key[e]);
  }
  const double scale = weights.empty() ? 0.0 : t * weights[0];
  for (double& component : g) component *= scale;
  ThroughNormalisation(q, norm, g, out);
}

}  // namespace evoke
