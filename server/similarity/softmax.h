// From similarities to weights: the softmax over a row's neighbors, with the same bits on every machine.
#pragma once

#include "absl/types/span.h"

namespace evoke {

// e^x in float64: error below 1 ulp where the result is normal (0.84 seen), below 1.5 units of the last place
// where it is subnormal; 0 below about -745.13, infinity above about 709.78, NaN for NaN. The tree's own,
// because libm's differs between machines.
double Exp(double x);

// weights[i] = softmax(t * similarities)[i], in float64. `similarities` are in the order of neighbors (the
// first is the largest), so no exponent is positive: nothing overflows, and the first term is 1. The sum is
// taken in neighbor order.
// Requires: weights.size() == similarities.size(); t finite and > 0.
void Softmax(absl::Span<const float> similarities, double t, absl::Span<double> weights);

// The confidence of an answer: the first of Softmax's weights, rounded once to float32; 0 without neighbors.
float Confidence(absl::Span<const double> weights);

}  // namespace evoke
