// The margin loss, and invariant 10 of semantics.md: gradients against float64 central differences.
#include "server/similarity/gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "server/similarity/similarity.h"
#include "server/similarity/softmax.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

using Doubles = std::vector<double>;

TEST(MarginLossTest, IsTheHingeOfNegativeMinusPositivePlusMargin) {
  EXPECT_EQ(MarginLoss(0.25f, 0.5f, 0.125f), 0.375f);
  EXPECT_EQ(MarginLoss(0.5f, 0.25f, 0.125f), 0.0f);
  EXPECT_FALSE(std::signbit(MarginLoss(0.0f, -0.0f, -0.0f)));
}

TEST(MarginLossTest, SubtractsFirstAndAddsTheMarginThen) {
  // (2^-25 - 1) rounds to -1 and the small similarity is gone; in another order it would survive.
  EXPECT_EQ(MarginLoss(1.0f, 0x1p-25f, 1.0f), 0.0f);
  // (1 - 0.5) + 2^-25 keeps what 1 + 2^-25 would lose.
  EXPECT_EQ(MarginLoss(0.5f, 1.0f, 0x1p-24f), 0.5f + 0x1p-24f);
}

TEST(MarginLossTest, CountsAnAbsentSideAsZeroAndIsZeroWithNeither) {
  EXPECT_EQ(MarginLoss(std::nullopt, 0.25f, 0.125f), 0.375f);
  EXPECT_EQ(MarginLoss(-0.25f, std::nullopt, 0.125f), 0.375f);
  EXPECT_EQ(MarginLoss(std::nullopt, std::nullopt, 0.125f), 0.0f);
}

// d f / d x by central differences in float64, with x = q * norm in float64.
Doubles CentralDifferences(const std::vector<float>& q, float norm, const std::function<double(Doubles)>& f) {
  Doubles x(q.begin(), q.end());
  for (double& component : x) component *= norm;
  const double h = 2e-6 * norm;
  Doubles gradient;
  for (double& component : x) {
    const double before = component;
    component = before + h;
    const double above = f(x);
    component = before - h;
    gradient.push_back((above - f(x)) / (2 * h));
    component = before;
  }
  return gradient;
}

// Inner product of x / |x| and a key.
double Cosine(const Doubles& x, const float* key) {
  double squares = 0, sum = 0;
  for (size_t e = 0; e < x.size(); ++e) {
    squares += x[e] * x[e];
    sum += key == nullptr ? 0.0 : x[e] * key[e];
  }
  return sum / std::sqrt(squares);
}

struct Row {
  std::vector<float> q;
  float norm = 0;
  std::vector<std::vector<float>> keys;  // in neighbor order
  std::vector<float> similarities;
};

// `spread` is how far the neighbors lie from the query.
Row RandomRow(std::mt19937_64& random, int dim, size_t neighbors, float spread, float scale) {
  Row row;
  std::vector<float> x = RandomVector(random, Kind::kNormal, dim);
  for (float& component : x) component *= scale;
  row.q.resize(x.size());
  EXPECT_EQ(NormaliseEmbedding(x.data(), dim, row.q.data(), &row.norm), RowCheck::kOk);
  for (size_t i = 0; i < neighbors; ++i) {
    std::vector<float> key = RandomVector(random, Kind::kUnit, dim);
    for (size_t e = 0; e < key.size(); ++e) key[e] = row.q[e] + spread * key[e];
    Normalise(key.data(), dim, key.data());
    row.keys.push_back(key);
  }
  std::sort(row.keys.begin(), row.keys.end(), [&](const auto& a, const auto& b) {
    return Similarity(row.q.data(), a.data(), dim) > Similarity(row.q.data(), b.data(), dim);
  });
  for (const auto& key : row.keys) row.similarities.push_back(Similarity(row.q.data(), key.data(), dim));
  return row;
}

TEST(LossGradientTest, AgreesWithCentralDifferences) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {1, 2, 20, 128, 1500}) {
    for (const float scale : {1e-6f, 1.0f, 1000.0f}) {
      for (int sides = 1; sides <= 3; ++sides) {
        const Row row = RandomRow(random, dim, 2, 1.5f, scale);
        MarginSide negative, positive;
        if (sides & 1) negative = {row.keys[0].data(), row.similarities[0]};
        if (sides & 2) positive = {row.keys[1].data(), row.similarities[1]};
        const float loss = 1.0f;  // only whether it is positive matters
        std::vector<float> gradient(row.q.size());
        LossGradient(row.q.data(), row.norm, positive, negative, loss, dim, gradient.data());

        const Doubles expected = CentralDifferences(row.q, row.norm, [&](const Doubles& x) {
          return Cosine(x, negative.key) - Cosine(x, positive.key);
        });
        double squares = 0;
        for (int e = 0; e < dim; ++e) {
          const double g = (negative.key ? negative.key[e] : 0.0) - (positive.key ? positive.key[e] : 0.0);
          squares += g * g;
        }
        const double tolerance = 1e-6 * std::sqrt(squares) / row.norm;
        for (int e = 0; e < dim; ++e) ASSERT_NEAR(gradient[e], expected[e], tolerance) << "dim " << dim;
      }
    }
  }
}

TEST(LossGradientTest, IsZeroWhereTheLossIsZero) {
  const float q[] = {1.0f, 0.0f};
  const float k[] = {0.0f, 1.0f};
  float out[] = {7.0f, 7.0f};
  LossGradient(q, 1.0f, {q, 1.0f}, {k, 0.0f}, 0.0f, 2, out);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_EQ(out[1], 0.0f);
}

TEST(ConfidenceGradientTest, AgreesWithCentralDifferences) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {2, 20, 128, 1500}) {
    for (const double t : {1.0, 40.0}) {
      for (const float spread : {0.2f, 1.0f}) {
        const Row row = RandomRow(random, dim, 12, spread, 3.0f);
        Doubles weights(row.keys.size());
        Softmax(row.similarities, t, absl::MakeSpan(weights));
        std::vector<const float*> keys;
        for (const auto& key : row.keys) keys.push_back(key.data());
        std::vector<float> gradient(row.q.size());
        ConfidenceGradient(row.q.data(), row.norm, keys, weights, t, dim, gradient.data());

        const Doubles expected = CentralDifferences(row.q, row.norm, [&](const Doubles& x) {
          const double first = Cosine(x, keys[0]);
          double sum = 0;
          for (const float* key : keys) sum += std::exp(t * (Cosine(x, key) - first));
          return 1.0 / sum;
        });
        double squares = 0;
        for (int e = 0; e < dim; ++e) {
          double g = 0;
          for (size_t j = 1; j < keys.size(); ++j) {
            g += weights[j] * (static_cast<double>(keys[0][e]) - keys[j][e]);
          }
          squares += std::pow(t * weights[0] * g, 2);
        }
        const double unit = std::ceil(dim / 16.0) + 8;
        // Central differences are themselves off by some 1e-9 t.
        const double tolerance =
            2 * (1e-6 + t * unit * 0x1p-23) * std::sqrt(squares) / row.norm + 1e-9 * t / row.norm;
        for (int e = 0; e < dim; ++e) ASSERT_NEAR(gradient[e], expected[e], tolerance) << "dim " << dim;
      }
    }
  }
}

TEST(ConfidenceGradientTest, DoesNotCancelWhenTheConfidenceIsNearlyOne) {
  const float q[] = {1.0f, 0.0f};
  const float first[] = {1.0f, 0.0f};
  const float second[] = {0.0f, 1.0f};
  const float* keys[] = {first, second};
  Doubles weights(2);
  Softmax({1.0f, 0.0f}, 40.0, absl::MakeSpan(weights));
  float out[2];
  ConfidenceGradient(q, 1.0f, keys, weights, 40.0, 2, out);
  // g = t p_1 p_2 (k_1 - k_2), p_2 = e^-40; the part along q is projected away.
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_NEAR(out[1], -40.0 * std::exp(-40.0), 1e-6 * 40.0 * std::exp(-40.0));
}

TEST(ConfidenceGradientTest, IsZeroWithFewerThanTwoNeighbors) {
  const float q[] = {-1.0f, 0.0f};
  const float* keys[] = {q};
  const double one[] = {1.0};
  for (const size_t count : {0u, 1u}) {
    float out[] = {7.0f, 7.0f};
    ConfidenceGradient(q, 1.0f, absl::MakeSpan(keys, count), absl::MakeSpan(one, count), 40.0, 2, out);
    EXPECT_EQ(std::bit_cast<uint32_t>(out[0]), 0u);
    EXPECT_EQ(std::bit_cast<uint32_t>(out[1]), 0u);
  }
}

}  // namespace
}  // namespace evoke
