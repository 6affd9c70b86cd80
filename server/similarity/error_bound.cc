// Notation: u = 2^-24, the unit roundoff of float32; c = ceil(dim / 16); S = sum |a_e b_e| <= |a| |b| by
// Cauchy-Schwarz; gamma_n = n u / (1 - n u), for which (1 + u)^n - 1 <= gamma_n (Higham, Accuracy and
// Stability of Numerical Algorithms, lemma 3.1). Every rounding obeys fl(z) = z (1 + d) + h with |d| <= u,
// and h, which is 0 unless the result is subnormal, |h| <= 2^-150, half the smallest subnormal. Additions
// have h = 0: a subnormal sum is exact.
//
// Canonical sum. An element's product passes through at most c fused multiply-adds (each rounds once; its own
// is one of them) and the 4 additions of the tree, so the result is sum a_e b_e (1 + D_e), |D_e| <=
// gamma_{c+4}, and each of the 16 c fused operations adds an h that later roundings enlarge by at most 1 +
// gamma_{c+4}:
//
//     |canonical - true| <= gamma_{c+4} S + 16 c 2^-150 (1 + gamma_{c+4}).
//
// The zeros of a missing tail round nothing. That is all, as long as no partial sum overflows; each of them
// is at most (1 + gamma) S plus the h terms.
//
// Any order. Summation is a binary tree with the products as leaves. A product rounds at most once, and a
// leaf of a tree with dim leaves has at most dim - 1 additions above it: at most dim roundings. Adding a zero
// (an initial accumulator, padding) rounds nothing. Flushing a subnormal to zero, on input or on output,
// moves one number by at most 2^-126. Results: fewer than 2 dim operations, each flushed as a result and
// again as an operand, 4 dim 2^-126. Inputs: flushing a_e or b_e changes the product by at most 2^-126 (|a_e|
// + |b_e|), in sum 2^-126 sqrt(dim) (|a| + |b|). Hence
//
//     |any - true| <= gamma_dim S + 2^-126 (4 dim + sqrt(dim) (|a| + |b|)) (1 + gamma_dim),
//
// and |any - canonical| is at most the sum of the two bounds.
//
// Unit norm. Similarity(x, x) has only positive terms: relative error at most gamma_{c+4}. The square root
// halves it and rounds once; the division rounds each component once, which moves the norm by at most u. To
// first order (c + 4) u / 2 + 2 u = (c + 8) 2^-25. The terms of second order are below (c + 8)^2 u^2, and
// (c + 8) u <= 264 * 2^-24 < 2^-15; underflow moves it by less than 2^-50 (norms are at least 1e-12). The
// factor 1 + 2^-10 covers both.
#include "server/similarity/error_bound.h"

#include <cmath>
#include <limits>

namespace evoke {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr double kTiny = 0x1p-150;
constexpr double kFlush = 0x1p-126;
// The bound itself takes fewer than 32 operations on positive float64 numbers; their roundings are below
// 32 * 2^-53 of it.
constexpr double kOutward = 1.0 + 0x1p-48;

double Gamma(double n) {
  return n * kUnit / (1.0 - n * kUnit);
}

double Chains(int dim) {
  return std::ceil(dim / 16.0);
}

// Partial sums are at most this; beyond float32's range nothing can be said.
bool MayOverflow(double gamma, double product) {
  return !(product * (1.0 + gamma) * kOutward + 1.0 < std::numeric_limits<float>::max());
}

}  // namespace

double SimilarityErrorBound(int dim, double norm_a, double norm_b) {
  const double gamma = Gamma(Chains(dim) + 4.0);
  const double product = norm_a * norm_b;
  if (MayOverflow(gamma, product)) return std::numeric_limits<double>::infinity();
  return (gamma * product + 16.0 * Chains(dim) * kTiny * (1.0 + gamma)) * kOutward;
}

double SgemmErrorBound(int dim, double norm_a, double norm_b) {
  const double gamma = Gamma(dim);
  const double product = norm_a * norm_b;
  if (MayOverflow(gamma, product)) return std::numeric_limits<double>::infinity();
  const double flushed = kFlush * (4.0 * dim + std::sqrt(static_cast<double>(dim)) * (norm_a + norm_b));
  return (gamma * product + flushed * (1.0 + gamma) + SimilarityErrorBound(dim, norm_a, norm_b)) * kOutward;
}

// With a~ = a + e, b~ = b + f: a~.b~ - a.b = a~.f + e.b, each at most a product of norms (Cauchy-Schwarz). The sum's own
// rounding is that of vectors of norms up to |a| + |e|, |b| + |f|; SgemmErrorBound grows with both norms and so covers the
// canonical sum over a and b too.
double RoughErrorBound(int dim, double norm_a, double rounding_a, double norm_b, double rounding_b) {
  const double rough_a = norm_a + rounding_a;
  const double rough_b = norm_b + rounding_b;
  return (SgemmErrorBound(dim, rough_a * kOutward, rough_b * kOutward) + rough_a * rounding_b + rounding_a * norm_b) *
         kOutward;
}

// What is known of the units is measured, not promised (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor
// cores, PeerJ Computer Science 7, 2021; on later ones others found the same or better). They take n >= 4 products and an
// accumulator at a time. Products are exact: 11 bits times 11 bits. All are shifted to the exponent of the largest, of
// which at least 24 bits are kept, and what is shifted out is lost: below 2^-23 of the largest for each of the n + 1, and as
// much again when the sum becomes a float32. Neither the largest nor a sum exceeds S (1 + g), with g what was lost so far
// relative to S. There are ceil(dim / n) such steps, so they lose less than ceil(dim / n) (n + 2) 2^-23 S (1 + g), which for
// n of 4 to 32 is at most (2 dim + 40) 2^-23 S (1 + g) = (4 dim + 80) u S (1 + g). A product that is split along dim adds
// at most dim float32 sums, u each. Together: gamma_{5 dim + 80} S, as (1 + g) <= 1 / (1 - n u). Subnormals as above.
double TensorCoreErrorBound(int dim, double norm_a, double rounding_a, double norm_b, double rounding_b) {
  const double rough_a = (norm_a + rounding_a) * kOutward;
  const double rough_b = (norm_b + rounding_b) * kOutward;
  const double gamma = Gamma(5.0 * dim + 80.0);
  if (MayOverflow(gamma, rough_a * rough_b)) return std::numeric_limits<double>::infinity();
  const double flushed = kFlush * (4.0 * dim + std::sqrt(static_cast<double>(dim)) * (rough_a + rough_b));
  return (gamma * rough_a * rough_b + flushed * (1.0 + gamma) + rough_a * rounding_b + rounding_a * norm_b +
          SimilarityErrorBound(dim, norm_a, norm_b)) *
         kOutward;
}

double UnitNormError(int dim) {
  return (Chains(dim) + 8.0) * 0x1p-25 * (1.0 + 0x1p-10);
}

double UnitNormBound(int dim) {
  return 1.0 + UnitNormError(dim);
}

}  // namespace evoke
