// Invariants 4, 5 and 10 of semantics.md, section 7: what is answered, and that reading changes nothing.
#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <map>

#include "tests/component/invariants.h"

namespace evoke::testing {
namespace {

class ReadInvariantsTest : public InvariantsTestBase {};

INSTANTIATE_TEST_SUITE_P(Memories, ReadInvariantsTest, ::testing::ValuesIn(kMemories),
                         [](const auto& info) { return info.param.name; });

// Bitwise, of row `a` of one reply and row `b` of another.
void ExpectEqualRows(const QueryReply& x, size_t a, const QueryReply& y, size_t b, size_t dim) {
  ASSERT_EQ(x.neighbor_count, y.neighbor_count);
  EXPECT_EQ(x.answered[a], y.answered[b]);
  EXPECT_EQ(x.values[a], y.values[b]);
  EXPECT_EQ(x.confidences[a], y.confidences[b]);
  for (size_t n = 0; n < x.neighbor_count; ++n) {
    const size_t i = a * x.neighbor_count + n, j = b * y.neighbor_count + n;
    EXPECT_EQ(x.neighbors[i].slot, y.neighbors[j].slot);
    EXPECT_EQ(std::bit_cast<uint32_t>(x.neighbors[i].similarity),
              std::bit_cast<uint32_t>(y.neighbors[j].similarity));
    EXPECT_EQ(x.weights[i], y.weights[j]);
    EXPECT_TRUE(std::equal(&x.keys[i * dim], &x.keys[i * dim] + dim, &y.keys[j * dim]));
  }
}

TEST_P(ReadInvariantsTest, ReadsLeaveTheStateAndABatchIsItsRowsAlone) {
  EngineDriver driver(DriverOptions());
  RandomLogOptions log_options = LogOptions();
  log_options.scaled = 0;  // then norms are 1 to 2^10, and components that are not 0 at least 2^-20
  RandomLog log(log_options);
  RandomBits bits(Seed());
  for (int i = 0; i < kEntries / 4; ++i) {
    Train(driver, log.Next().rows);
    const Hash128 hash = driver.state().state_hash;
    const Turn turn = driver.state().name.turn;

    std::vector<ModelRow> read;
    std::vector<std::vector<float>> x;
    for (ModelRow& row : log.Next().rows) {
      row.write = false;
      if (!row.skip) x.push_back(row.x);
      read.push_back(row);
    }
    const ObserveReply scored = Train(driver, read);
    EXPECT_EQ(std::count(scored.outcomes.begin(), scored.outcomes.end(), evoke::Outcome::kNone), scored.rows);
    const QueryReply batch = Query(driver, x, 9);
    for (size_t r = 0; r < x.size(); ++r) {
      ExpectEqualRows(batch, r, Query(driver, {x[r]}, 9), 0, static_cast<size_t>(spec.key_dim));

      std::vector<float> scaled = x[r];
      const float factor = std::ldexp(1.0f, static_cast<int>(bits.Between(-39, 40)));
      for (float& c : scaled) c *= factor;
      ExpectEqualRows(batch, r, Query(driver, {scaled}, 9), 0, static_cast<size_t>(spec.key_dim));
    }
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(driver.state().state_hash, hash);
    ASSERT_EQ(driver.state().name.turn, turn);
  }
}

TEST_P(ReadInvariantsTest, AnyPositiveScaleMovesSimilaritiesByAFewUlps) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  RandomBits bits(Seed());
  const auto k = static_cast<uint32_t>(spec.capacity);
  const double bound = (3 * Blocks(spec.key_dim) + 18) * 0x1p-24;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    Train(driver, entry.rows);
    if (entry.rows[0].skip) continue;
    std::vector<float> scaled = entry.rows[0].x;
    const float c = static_cast<float>(bits.Between(1, 1 << 24)) * 0x1p-12f;
    for (float& component : scaled) component *= c;
    const QueryReply reply = Query(driver, {entry.rows[0].x, scaled}, k);
    std::map<uint64_t, float> similarity;
    for (size_t n = 0; n < reply.neighbor_count; ++n)
      similarity[reply.neighbors[n].slot] = reply.neighbors[n].similarity;
    for (size_t n = reply.neighbor_count; n < reply.neighbors.size(); ++n) {
      ASSERT_NEAR(reply.neighbors[n].similarity, similarity.at(reply.neighbors[n].slot), bound)
          << "scale " << c;
    }
  }
}

TEST_P(ReadInvariantsTest, WhatAMissWroteIsFoundBySimilarityOneUnlessAnotherIsAsNear) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  const double bound = (Blocks(spec.key_dim) + 8) * 0x1p-23;
  int checked = 0;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    const ObserveReply trained = Train(driver, entry.rows);
    for (size_t r = 0; r < entry.rows.size(); ++r) {
      const bool miss =
          trained.outcomes[r] == evoke::Outcome::kFree || trained.outcomes[r] == evoke::Outcome::kEvict;
      if (!miss || std::count(trained.slots.begin() + static_cast<int64_t>(r), trained.slots.end(),
                              trained.slots[r]) > 1)
        continue;
      const QueryReply reply = Query(driver, {entry.rows[r].x}, static_cast<uint32_t>(spec.capacity));
      const auto own = std::find_if(reply.neighbors.begin(), reply.neighbors.end(),
                                    [&](const ScoredSlot& n) { return n.slot == trained.slots[r]; });
      ASSERT_NE(own, reply.neighbors.end());
      EXPECT_NEAR(own->similarity, 1, bound);
      EXPECT_EQ(own->value, entry.rows[r].value);
      if (own != reply.neighbors.begin()) {
        EXPECT_GE(reply.neighbors[0].similarity, own->similarity);
      } else {
        EXPECT_EQ(reply.values[0], entry.rows[r].value);
      }
      ++checked;
    }
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(checked, kEntries / 4);
}

using Vector = std::vector<double>;

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += a[e] * b[e];
  return sum;
}

// d f / d x by central differences, of an f that depends on q = x / |x| only. `change` tells f(q + step) -
// f(q); told so, and not as two values of f, it loses nothing where f hardly changes.
using Change = std::function<double(const Vector& q, const Vector& step)>;
Vector Differences(const std::vector<float>& x, const Change& change) {
  Vector gradient;
  const double h = 1e-6 * Norm64(x.data(), static_cast<int>(x.size()));
  for (size_t e = 0; e < x.size(); ++e) {
    Vector q[2];
    for (int side : {0, 1}) {
      q[side].assign(x.begin(), x.end());
      q[side][e] += side == 0 ? -h : h;
      const double norm = std::sqrt(Dot(q[side], q[side]));
      for (double& c : q[side]) c /= norm;
    }
    Vector step(x.size());
    for (size_t i = 0; i < x.size(); ++i) step[i] = q[1][i] - q[0][i];
    gradient.push_back(change(q[0], step) / (2 * h));
  }
  return gradient;
}

// a - b, both [count] at their addresses.
Vector Minus(const float* a, const float* b, size_t count) {
  Vector difference(count);
  for (size_t e = 0; e < count; ++e) difference[e] = double{a[e]} - b[e];
  return difference;
}

TEST_P(ReadInvariantsTest, GradientsAgreeWithCentralDifferences) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  const auto dim = static_cast<size_t>(spec.key_dim);
  const double t = spec.inverse_temperature;
  int losses = 0, confidences = 0;
  for (int i = 0; i < kEntries; ++i) {
    Train(driver, log.Next().rows);
    ModelRow row = log.Next().rows[0];
    if (row.skip) continue;
    row.write = false;
    const ObserveReply keys = Train(driver, {row}, ObserveForm::kKeys);
    const ObserveReply gradients = Train(driver, {row}, ObserveForm::kGradient);
    const QueryReply query = Query(driver, {row.x}, static_cast<uint32_t>(spec.choose_k));
    const double norm = Norm64(row.x.data(), spec.key_dim);
    Vector q(row.x.begin(), row.x.end());
    for (double& c : q) c /= norm;

    Vector g = Minus(keys.negative_keys.data(), keys.positive_keys.data(), dim);
    const double hinge = Dot(q, g) + spec.margin;
    if (std::abs(hinge) > 1e-4) {
      const Vector expected = Differences(
          row.x, [&](const Vector&, const Vector& step) { return hinge > 0 ? Dot(step, g) : 0.0; });
      const double tolerance = 1e-6 * std::sqrt(Dot(g, g)) / norm;
      for (size_t e = 0; e < dim; ++e) {
        EXPECT_NEAR(gradients.gradients[e], expected[e], tolerance) << "component " << e;
      }
      ++losses;
    }

    const size_t m = query.neighbor_count;
    if (m < 2) continue;
    std::vector<Vector> beyond_first;  // k_j - k_1; the confidence is 1 / (1 + sum of exp(t q.(k_j - k_1)))
    for (size_t n = 1; n < m; ++n) beyond_first.push_back(Minus(&query.keys[n * dim], &query.keys[0], dim));
    const Vector expected = Differences(row.x, [&](const Vector& at, const Vector& step) {
      double sum = 0, grown = 0;
      for (const Vector& k : beyond_first) {
        const double term = std::exp(t * Dot(at, k));
        sum += term;
        grown += term * std::expm1(t * Dot(step, k));
      }
      return -grown / ((1 + sum) * (1 + sum + grown));
    });
    double sum = 0;
    std::fill(g.begin(), g.end(), 0.0);
    for (const Vector& k : beyond_first) {
      const double term = std::exp(t * Dot(q, k));
      sum += term;
      for (size_t e = 0; e < dim; ++e) g[e] -= t * term * k[e];
    }
    for (double& c : g) c /= (1 + sum) * (1 + sum);
    const double relative = 2 * (1e-6 + t * (Blocks(spec.key_dim) + 8) * 0x1p-23);
    // Where a float32 can say no more the last bit is the tolerance.
    const double tolerance = relative * std::sqrt(Dot(g, g)) / norm + 0x1p-149;
    for (size_t e = 0; e < dim; ++e) {
      EXPECT_NEAR(gradients.confidence_gradients[e], expected[e], tolerance) << "component " << e;
    }
    ++confidences;
    ASSERT_FALSE(HasFailure()) << "entry " << i;
  }
  EXPECT_GT(losses, kEntries / 2);
  EXPECT_GT(confidences, kEntries / 2);
}

}  // namespace
}  // namespace evoke::testing
