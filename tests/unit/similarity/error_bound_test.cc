// The bounds hold on data made to break them, and are not so wide that they certify nothing.
#include "server/similarity/error_bound.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "server/similarity/similarity.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

using Floats = std::vector<float>;

// 113 bits hold every sum of a test to far below the bounds.
__float128 TrueProduct(const Floats& a, const Floats& b) {
  __float128 sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += static_cast<__float128>(a[e]) * b[e];
  return sum;
}

double NormAbove(const Floats& x) {
  return std::sqrt(static_cast<double>(TrueProduct(x, x))) * (1 + 0x1p-50) + 1e-300;
}

double Distance(float s, __float128 truth) {
  const __float128 difference = s - truth;
  return static_cast<double>(difference < 0 ? -difference : difference);
}

// Orders that a matrix product may take.
Floats OtherSums(const Floats& a, const Floats& b) {
  Floats sums;
  float forward = 0, backward = 0, fused = 0;
  float blocks[8] = {};
  for (size_t e = 0; e < a.size(); ++e) {
    const size_t r = a.size() - 1 - e;
    forward += a[e] * b[e];
    backward += a[r] * b[r];
    fused = std::fmaf(a[e], b[e], fused);
    blocks[e * 8 / a.size()] += a[e] * b[e];
  }
  sums = {forward, backward, fused, std::accumulate(blocks, blocks + 8, 0.0f)};
  Floats pairs;
  for (size_t e = 0; e < a.size(); ++e) pairs.push_back(a[e] * b[e]);
  while (pairs.size() > 1) {
    Floats next;
    for (size_t i = 0; i < pairs.size(); i += 2) {
      next.push_back(i + 1 < pairs.size() ? pairs[i] + pairs[i + 1] : pairs[i]);
    }
    pairs.swap(next);
  }
  sums.push_back(pairs[0]);
  return sums;
}

void ExpectWithinBounds(const Floats& a, const Floats& b) {
  const int dim = static_cast<int>(a.size());
  const float canonical = Similarity(a.data(), b.data(), dim);
  const double na = NormAbove(a);
  const double nb = NormAbove(b);
  ASSERT_LE(Distance(canonical, TrueProduct(a, b)), SimilarityErrorBound(dim, na, nb)) << "dim " << dim;
  for (const float s : OtherSums(a, b)) {
    ASSERT_LE(Distance(s, canonical), SgemmErrorBound(dim, na, nb)) << "dim " << dim;
  }
}

TEST(ErrorBoundTest, HoldsOnRandomData) {
  std::mt19937_64 random = SeededGenerator();
  for (const Kind kind : kAllKinds) {
    for (const size_t dim : {1, 2, 15, 16, 17, 64, 128, 300, 1024, 4096}) {
      for (int i = 0; i < 10; ++i) {
        const Floats a = RandomVector(random, kind, dim);
        ExpectWithinBounds(a, RandomVector(random, kind, dim));
        ExpectWithinBounds(a, a);
        Floats opposite = a;  // the true product nearly cancels
        for (size_t e = 0; e < dim; e += 2) opposite[e] = -opposite[e];
        ExpectWithinBounds(a, opposite);
      }
    }
  }
}

// All terms equal, each addition rounded the same way: errors add up instead of cancelling.
TEST(ErrorBoundTest, HoldsWhereAllRoundingsAgreeAndIsNotTenTimesTooWide) {
  for (const size_t dim : {16, 128, 1024, 4096}) {
    double worst = 0;
    for (int i = 1; i < 400; ++i) {
      const Floats a(dim, 1.0f + i * 0x1p-12f + 0x1p-23f);
      const Floats b(dim, 1.0f + i * 0x1p-13f + 0x1p-22f);
      ExpectWithinBounds(a, b);
      const double bound = SimilarityErrorBound(static_cast<int>(dim), NormAbove(a), NormAbove(b));
      worst = std::max(
          worst, Distance(Similarity(a.data(), b.data(), static_cast<int>(dim)), TrueProduct(a, b)) / bound);
    }
    EXPECT_GT(worst, 0.05) << "dim " << dim;
  }
}

TEST(ErrorBoundTest, HoldsWhereEveryProductUnderflows) {
  // Products of 0.75 * 2^-149 round up by a quarter of the smallest subnormal each; those of half of it, to
  // 0.
  for (const size_t dim : {16, 100, 4096}) {
    for (const float factor : {0.75f, 0.5f, 0.50001f, 1.25f}) {
      ExpectWithinBounds(Floats(dim, factor * 0x1p-74f), Floats(dim, 0x1p-75f));
    }
  }
}

TEST(ErrorBoundTest, IsNothingBeyondTheFormulaForUnitVectors) {
  // (128 / 16 + 4) 2^-24 and (12 + 128) 2^-24, to a part in 1e5.
  EXPECT_NEAR(SimilarityErrorBound(128, 1, 1), 12 * 0x1p-24, 12 * 0x1p-24 * 1e-5);
  EXPECT_NEAR(SgemmErrorBound(128, 1, 1), 140 * 0x1p-24, 140 * 0x1p-24 * 1e-5);
  EXPECT_GT(SimilarityErrorBound(128, 1, 1), 12 * 0x1p-24);
}

TEST(ErrorBoundTest, IsInfiniteWhereAPartialSumCouldOverflow) {
  EXPECT_EQ(SimilarityErrorBound(4, 1e20, 1e19), std::numeric_limits<double>::infinity());
  EXPECT_EQ(SgemmErrorBound(4, 1e20, 1e19), std::numeric_limits<double>::infinity());
  EXPECT_EQ(SgemmErrorBound(4, std::numeric_limits<double>::quiet_NaN(), 1),
            std::numeric_limits<double>::infinity());
  EXPECT_LT(SgemmErrorBound(4, 1e18, 1e18), 1e36);
}

TEST(UnitNormBoundTest, HoldsForWhatNormaliseMakes) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {1, 2, 3, 16, 17, 128, 1000, 4096}) {
    for (int i = 0; i < 50; ++i) {
      Floats x = RandomVector(random, Kind::kNormal, dim);
      Normalise(x.data(), dim, x.data());
      const double norm = std::sqrt(static_cast<double>(TrueProduct(x, x)));
      ASSERT_LE(std::abs(norm - 1), UnitNormError(dim));
      ASSERT_LE(norm, UnitNormBound(dim));
    }
  }
}

}  // namespace
}  // namespace evoke
