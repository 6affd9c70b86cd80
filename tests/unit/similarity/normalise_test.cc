// Norms, validation of embeddings, and the reinforcement of keys.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

double TrueNorm(const std::vector<float>& x) {
  long double squares = 0;
  for (float component : x) squares += static_cast<long double>(component) * component;
  return static_cast<double>(std::sqrt(squares));
}

TEST(NormaliseTest, DividesEachComponentByTheNorm) {
  const std::vector<float> x = {3.0f, -4.0f, 0.0f};
  std::vector<float> out(3);
  EXPECT_EQ(Norm(x.data(), 3), 5.0f);
  Normalise(x.data(), 3, out.data());
  EXPECT_EQ(out, (std::vector<float>{3.0f / 5.0f, -4.0f / 5.0f, 0.0f}));
}

TEST(NormaliseTest, RoundsADivisionAndNotAMultiplicationByTheReciprocal) {
  std::mt19937_64 random = SeededGenerator();
  const std::vector<float> x = RandomVector(random, Kind::kNormal, 1000);
  std::vector<float> out = x;
  Normalise(out.data(), 1000, out.data());  // in place
  const float norm = Norm(x.data(), 1000);
  for (size_t e = 0; e < x.size(); ++e) ASSERT_EQ(out[e], x[e] / norm);
}

TEST(NormaliseEmbeddingTest, ReturnsTheRowAndItsNorm) {
  const std::vector<float> x = {0.0f, 0.5f};
  std::vector<float> out(2);
  float norm = 0;
  EXPECT_EQ(NormaliseEmbedding(x.data(), 2, out.data(), &norm), RowCheck::kOk);
  EXPECT_EQ(out, (std::vector<float>{0.0f, 1.0f}));
  EXPECT_EQ(norm, 0.5f);
}

TEST(NormaliseEmbeddingTest, RefusesNonFiniteComponentsAnywhereAndLeavesTheOutputAlone) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (size_t at : {0u, 7u, 18u}) {
      std::vector<float> x(19, 1.0f);
      x[at] = bad;
      std::vector<float> out(19, 7.0f);
      float norm = 7.0f;
      EXPECT_EQ(NormaliseEmbedding(x.data(), 19, out.data(), &norm), RowCheck::kNonFinite);
      EXPECT_EQ(out, std::vector<float>(19, 7.0f));
      EXPECT_EQ(norm, 7.0f);
    }
  }
}

TEST(NormaliseEmbeddingTest, AcceptsExactlyTheNormsFromTheSmallestToTheLargest) {
  const auto check = [](float component) {
    float x[2] = {0.0f, component};
    float norm = 0;
    return NormaliseEmbedding(x, 2, x, &norm);
  };
  // In binary arithmetic the root of a rounded square is the number itself.
  EXPECT_EQ(check(1e-12f), RowCheck::kOk);
  EXPECT_EQ(check(std::nextafter(1e-12f, 0.0f)), RowCheck::kBadNorm);
  EXPECT_EQ(check(1e18f), RowCheck::kOk);
  EXPECT_EQ(check(std::nextafter(1e18f, 1e19f)), RowCheck::kBadNorm);
  EXPECT_EQ(check(0.0f), RowCheck::kBadNorm);
  EXPECT_EQ(check(1e-30f), RowCheck::kBadNorm);
  EXPECT_EQ(check(1e30f), RowCheck::kBadNorm);  // the squares overflow
}

TEST(NormaliseEmbeddingTest, ScalingByAPowerOfTwoChangesNoBit) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {1, 20, 128}) {
    for (const int exponent : {-30, -1, 1, 20, 50}) {
      const std::vector<float> x = RandomVector(random, Kind::kUnit, dim);
      std::vector<float> scaled = x;
      for (float& component : scaled) component = std::ldexp(component, exponent);
      std::vector<float> a(dim), b(dim);
      float norm_a = 0, norm_b = 0;
      ASSERT_EQ(NormaliseEmbedding(x.data(), dim, a.data(), &norm_a), RowCheck::kOk);
      ASSERT_EQ(NormaliseEmbedding(scaled.data(), dim, b.data(), &norm_b), RowCheck::kOk);
      ASSERT_EQ(a, b);
      ASSERT_EQ(std::ldexp(norm_a, exponent), norm_b);
    }
  }
}

TEST(ReinforceTest, MovesTheKeyHalfwayToTheObservation) {
  std::vector<float> key = {1.0f, 0.0f};
  const std::vector<float> q = {0.6f, 0.8f};
  const double before = Similarity(key.data(), q.data(), 2);
  Reinforce(key.data(), q.data(), 2);
  EXPECT_NEAR(Similarity(key.data(), q.data(), 2), std::sqrt((1 + before) / 2), 1e-6);
}

TEST(ReinforceTest, TakesTheObservationWhereTheSumVanishes) {
  std::vector<float> key = {-1.0f, 0.0f, 0.0f};
  const std::vector<float> q = {1.0f, 0x1p-21f, 0.0f};  // the sum has norm 4.8e-7
  Reinforce(key.data(), q.data(), 3);
  EXPECT_EQ(key, q);
  key = {-1.0f, 0.0f, 0.0f};
  const std::vector<float> farther = {1.0f, 0x1p-19f, 0.0f};  // 1.9e-6
  Reinforce(key.data(), farther.data(), 3);
  EXPECT_EQ(key, (std::vector<float>{0.0f, 1.0f, 0.0f}));
}

// Invariant 1 of semantics.md, section 7.
TEST(ReinforceTest, KeepsTheNormWithinItsBoundAfterAMillionReinforcements) {
  std::mt19937_64 random = SeededGenerator();
  const struct {
    int dim;
    int count;
  } cases[] = {{1, 1000}, {2, 1000000}, {20, 100000}, {128, 20000}, {1000, 2000}};
  for (const auto& [dim, count] : cases) {
    std::vector<std::vector<float>> observations;
    for (int i = 0; i < 97; ++i) {
      std::vector<float> x = RandomVector(random, Kind::kNormal, dim);
      Normalise(x.data(), dim, x.data());
      observations.push_back(x);
    }
    const double bound = (std::ceil(dim / 16.0) + 8) * 0x1p-25;
    EXPECT_GE(UnitNormError(dim), bound);
    std::vector<float> key = observations[0];
    for (int i = 0; i < count; ++i) {
      Reinforce(key.data(), observations[i % 97].data(), dim);
      if (i % 16 == 0) {
        ASSERT_NEAR(TrueNorm(key), 1.0, bound) << "dim " << dim << " after " << i;
      }
    }
    ASSERT_NEAR(TrueNorm(key), 1.0, bound);
  }
}

}  // namespace
}  // namespace evoke
