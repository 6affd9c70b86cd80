// Our exp against long double, and the softmax at its extremes.
#include "server/similarity/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <vector>

#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

std::vector<double> SoftmaxOf(const std::vector<float>& similarities, double t) {
  std::vector<double> weights(similarities.size());
  Softmax(similarities, t, absl::MakeSpan(weights));
  return weights;
}

// The error of Exp(x) in units of the last place of the true value; the unit of a subnormal is 2^-1074.
double ErrorInUlps(double x) {
  const long double truth = std::exp(static_cast<long double>(x));
  const int exponent = std::max(std::ilogb(truth), -1022);
  return static_cast<double>(std::abs(Exp(x) - truth) / std::ldexp(1.0L, exponent - 52));
}

TEST(ExpTest, IsWithinOneUlpWhereTheResultIsNormal) {
  std::mt19937_64 random = SeededGenerator();
  double worst = 0;
  for (const double range : {0.4, 4.0, 40.0, 708.0}) {
    std::uniform_real_distribution<double> uniform(-range, range);
    for (int i = 0; i < 300000; ++i) {
      const double x = uniform(random);
      const double error = ErrorInUlps(x);
      ASSERT_LT(error, 1.0) << "x " << x;
      worst = std::max(worst, error);
    }
  }
  // Next to the multiples of ln 2 / 2, where the reduction is at its worst.
  for (int half = -2040; half <= 2040; ++half) {
    double x = half * 0.34657359027997264;
    for (int i = 0; i < 8; ++i) {
      ASSERT_LT(ErrorInUlps(x), 1.0) << "x " << x;
      x = std::nextafter(x, 1000.0);
    }
  }
  std::cout << "worst error seen: " << worst << " ulp\n";
}

TEST(ExpTest, GoesThroughTheSubnormalsToZero) {
  for (double x = -708.0; x > -745.13; x -= 0.00371) ASSERT_LT(ErrorInUlps(x), 1.5) << "x " << x;
  EXPECT_EQ(Exp(-745.13), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(Exp(-745.14), 0.0);
  EXPECT_EQ(Exp(-1e300), 0.0);
  EXPECT_EQ(Exp(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(ExpTest, HasItsExactValues) {
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-0.0), 1.0);
  EXPECT_EQ(Exp(1e-300), 1.0);
  EXPECT_TRUE(std::isfinite(Exp(709.78)));
  EXPECT_EQ(Exp(709.79), std::numeric_limits<double>::infinity());
  EXPECT_EQ(Exp(std::numeric_limits<double>::infinity()), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Exp(std::numeric_limits<double>::quiet_NaN())));
}

TEST(SoftmaxTest, AgreesWithLongDouble) {
  std::mt19937_64 random = SeededGenerator();
  std::vector<float> similarities = RandomVector(random, Kind::kUnit, 256);
  std::sort(similarities.rbegin(), similarities.rend());
  for (const double t : {0.01, 1.0, 39.36, 40.0, 10000.0}) {
    const std::vector<double> weights = SoftmaxOf(similarities, t);
    long double sum = 0;
    for (float s : similarities) sum += std::exp(static_cast<long double>(t) * s);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double truth = static_cast<double>(std::exp(static_cast<long double>(t) * similarities[i]) / sum);
      ASSERT_NEAR(weights[i], truth, 1e-12 * truth + 1e-300) << "t " << t << " neighbor " << i;
    }
  }
}

TEST(SoftmaxTest, OfNoNeighborIsNoConfidence) {
  EXPECT_TRUE(SoftmaxOf({}, 40.0).empty());
  EXPECT_EQ(Confidence({}), 0.0f);
}

TEST(SoftmaxTest, OfOneNeighborIsOneWhateverItsSimilarity) {
  EXPECT_EQ(SoftmaxOf({-1.0f}, 1e300), (std::vector<double>{1.0}));
  EXPECT_EQ(Confidence(SoftmaxOf({0.3f}, 40.0)), 1.0f);
}

TEST(SoftmaxTest, OfEqualSimilaritiesIsUniformEvenAtTheLargestT) {
  const double largest = std::numeric_limits<double>::max();
  EXPECT_EQ(SoftmaxOf({0.7f, 0.7f, 0.7f, 0.7f}, largest), (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
  EXPECT_EQ(SoftmaxOf({0.0f, -0.0f}, 40.0), (std::vector<double>{0.5, 0.5}));
}

TEST(SoftmaxTest, OfAnythingSmallerIsZeroAtTheLargestT) {
  const double largest = std::numeric_limits<double>::max();
  const float below = std::nextafter(1.0f, 0.0f);
  EXPECT_EQ(SoftmaxOf({1.0f, below, -1.0f}, largest), (std::vector<double>{1.0, 0.0, 0.0}));
}

TEST(SoftmaxTest, IsTheConfidenceOfTheGoldenTrace) {
  // semantics.md, section 8, step 5.
  EXPECT_NEAR(Confidence(SoftmaxOf({0.939693f, 0.866025f, 0.573576f}, 40.0)), 0.950106, 2e-6);
}

}  // namespace
}  // namespace evoke
