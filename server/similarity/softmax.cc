#include "server/similarity/softmax.h"

#include <bit>
#include <cstddef>
#include <cstdint>

#ifdef __FAST_MATH__
#error "Exp is defined by IEEE arithmetic; do not build with -ffast-math"
#endif

namespace evoke {
namespace {

// 2^k for a normal result, -1022 <= k <= 1023.
double PowerOfTwo(int k) {
  return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

// ln 2 in two parts. The first has 32 significant bits, so k * kLn2High is exact for |k| < 2^21; the second
// is the rest, off by less than 2^-86.
constexpr double kLn2High = 0x1.62e42feep-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kLog2E = 0x1.71547652b82fep+0;

// 1/n! for n = 13 .. 2, the Taylor coefficients of (e^r - 1 - r) / r^2. For |r| <= 0.3466 + 2^-40 the first
// term left out is r^14 / 14! < 4.2e-18, 0.02 ulp of the result; a minimax polynomial would save two terms
// and need a proof.
constexpr double kCoefficients[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                    1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                    1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        1.0 / 2.0};

}  // namespace

// Cody-Waite: x = k ln 2 + r with |r| <= ln 2 / 2, e^x = 2^k e^r. Only +, -, * in a written order (the build
// forbids contraction), so the bits do not depend on whether the machine has fused operations.
double Exp(double x) {
  if (!(x < 709.8)) {
    if (x != x) return x;
    return std::bit_cast<double>(uint64_t{0x7ff0} << 48);
  }
  if (x < -745.2) return 0.0;

  // Adding and subtracting 1.5 * 2^52 rounds to an integer, ties to even.
  constexpr double kRound = 0x1.8p52;
  const double multiple = (x * kLog2E + kRound) - kRound;
  const int k = static_cast<int>(multiple);
  const double high = x - multiple * kLn2High;  // exact: both are multiples of one ulp and close
  const double low = multiple * kLn2Low;
  const double r = high - low;
  const double lost = (high - r) - low;  // what rounding took from r; without it the error would pass 1 ulp

  double p = kCoefficients[0];
  for (size_t i = 1; i < sizeof(kCoefficients) / sizeof(double); ++i) p = p * r + kCoefficients[i];
  const double e = 1.0 + (r + (r * r * p + lost));

  // Below the normal range the power is applied in two steps; only the last one rounds.
  if (k < -1021) return e * PowerOfTwo(k + 600) * PowerOfTwo(-600);
  if (k > 1022) return e * PowerOfTwo(k - 1) * 2.0;
  return e * PowerOfTwo(k);
}

void Softmax(absl::Span<const float> similarities, double t, absl::Span<double> weights) {
  if (similarities.empty()) return;
  const double first = similarities[0];
  double sum = 0;
  for (size_t i = 0; i < similarities.size(); ++i) {
    weights[i] = Exp(t * (similarities[i] - first));
    sum += weights[i];
  }
  for (double& weight : weights) weight /= sum;
}

float Confidence(absl::Span<const double> weights) {
  return weights.empty() ? 0.0f : static_cast<float>(weights[0]);
}

}  // namespace evoke
