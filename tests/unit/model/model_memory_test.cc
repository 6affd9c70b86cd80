// The oracle is right: it meets every number of semantics.md section 8, and the invariants of section 7 that
// it can show alone.
#include "tests/testing/model_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/testing/random_log.h"
#include "tests/testing/traces.h"

namespace evoke::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ModelMemoryTest, MeetsTheGoldenTrace) {
  RunGoldenTrace(MakeModelUnderTest);
}
TEST(ModelMemoryTest, MeetsTheHashTraces) {
  RunHashTraces(MakeModelUnderTest);
}
TEST(ModelMemoryTest, MeetsTheCornerCases) {
  RunCornerCases(MakeModelUnderTest);
}
TEST(ModelMemoryTest, DrawsTheNoiseOfTheHashTrace) {
  EXPECT_EQ(ModelNoise(42, 5, 3), 376191944u);
}

std::vector<float> Axis(int key_dim, int e) {
  std::vector<float> x(key_dim, 0.0f);
  x[e] = 1;
  return x;
}

// What the traces leave open.

TEST(ModelMemoryTest, RefusesRowsThatAreNotFiniteOrOfNoLegalNormUnlessSkipped) {
  const ModelMemory memory({.key_dim = 2, .capacity = 1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(memory.Accepts({{.x = {1e-12f, 0}}, {.x = {0, -1e18f}}}));
  const std::vector<std::vector<float>> bad = {{0, 0},       {0, nan},   {infinity, 0}, {0.9e-12f, 0},
                                               {1.1e18f, 0}, {1e30f, 1}, {1, 2, 3}};
  for (const std::vector<float>& x : bad) {
    EXPECT_FALSE(memory.Accepts({{.x = {1, 0}}, {.x = x}}));
    EXPECT_FALSE(memory.Accepts({{.x = x, .write = false}}));
    EXPECT_TRUE(memory.Accepts({{.x = x, .skip = true}}));
  }
}

TEST(ModelMemoryTest, AnswersASkippedRowWithZeros) {
  ModelMemory memory({.key_dim = 2, .capacity = 2});
  memory.Train({{.x = {1, 0}, .value = 7}});
  const Hash128 hash = memory.StateHash();
  const ModelResult r = memory.Train({{.x = {}, .value = 7, .skip = true}})[0];
  EXPECT_FALSE(r.answered);
  EXPECT_EQ(r.confidence, 0);
  EXPECT_EQ(r.loss, 0);
  EXPECT_EQ(r.slot, kNoSlot);
  EXPECT_EQ(r.positive_key, std::vector<float>(2, 0));
  EXPECT_EQ(r.loss_gradient, std::vector<double>(2, 0));
  EXPECT_EQ(memory.StateHash(), hash);
  EXPECT_EQ(memory.step(), 1u);
}

TEST(ModelMemoryTest, ReplacesAKeyThatAHitWouldCancel) {
  ModelMemory memory({.key_dim = 2, .capacity = 1});
  memory.Train({{.x = {1, 0}, .value = 7}});
  EXPECT_EQ(OutcomesToString(memory.Train({{.x = {-3, 0}, .value = 7}})), "hit:0");
  EXPECT_THAT(memory.slots()[0].key, ElementsAre(-1, 0));
}

TEST(ModelMemoryTest, ScoresAMissingSideAsSimilarityZero) {
  ModelMemory memory({.key_dim = 2, .capacity = 4, .margin = 0.25f});
  const ModelResult empty = memory.Train({{.x = {1, 0}, .value = 1}})[0];
  EXPECT_FALSE(empty.positive_found || empty.negative_found || empty.answered);
  EXPECT_EQ(empty.loss, 0);

  const ModelResult no_negative = memory.Train({{.x = {0, 1}, .value = 1, .write = false}})[0];
  EXPECT_TRUE(no_negative.positive_found);
  EXPECT_FALSE(no_negative.negative_found);
  EXPECT_EQ(no_negative.loss, 0.25f);
  EXPECT_THAT(no_negative.positive_key, ElementsAre(1, 0));
  EXPECT_THAT(no_negative.negative_key, ElementsAre(0, 0));
  EXPECT_THAT(no_negative.loss_gradient, ElementsAre(-1, 0));

  const ModelResult no_positive = memory.Train({{.x = {-1, 0}, .value = 2, .write = false}})[0];
  EXPECT_FALSE(no_positive.positive_found);
  EXPECT_TRUE(no_positive.negative_found);
  EXPECT_EQ(no_positive.loss, 0);  // -1 - 0 + 0.25: not clamped at similarity 0
}

TEST(ModelMemoryTest, FallsBackToTheNewestSlotOfTheValueBeyondTheNeighbors) {
  ModelMemory memory({.key_dim = 4, .capacity = 4, .choose_k = 1});
  memory.Train({{.x = {1, 0, 0, 0}, .value = 1}});
  memory.Train({{.x = {0, 1, 0, 0}, .value = 2}});
  memory.Train({{.x = {0, 3, 4, 0}, .value = 1}, {.x = {0, 1, 0, 0}, .value = 2}});
  ASSERT_EQ(memory.live(), 3u);
  // e1 is nearest, then e0; but slot 2 is the newest of value 1, until e0 is hit.
  const ModelRow row{.x = {0.5f, 1, -0.75f, 0}, .value = 1, .write = false};
  ModelResult r = memory.Train({row})[0];
  EXPECT_EQ(r.value, 2);
  EXPECT_TRUE(r.positive_found);
  EXPECT_THAT(r.positive_key, ElementsAre(0, 0.6f, 0.8f, 0));
  EXPECT_THAT(r.negative_key, ElementsAre(0, 1, 0, 0));
  memory.Train({{.x = {1, 0, 0, 0}, .value = 1}});
  r = memory.Train({row})[0];
  EXPECT_THAT(r.positive_key, ElementsAre(1, 0, 0, 0));
}

// The hash traces hardly tell a fused multiply-add from another: 16 of their 20 products meet an accumulator
// of 0.
TEST(ModelSimilarityTest, FusesMultiplicationAndAddition) {
  std::vector<float> a = Axis(17, 0);
  std::vector<float> b = Axis(17, 0);
  b[0] = -1;
  a[16] = b[16] = 1 + std::ldexp(1.0f, -12);  // its square has a 2^-24 that a rounded product loses
  EXPECT_EQ(ModelSimilarity(a, b), std::ldexp(1.0f, -11) + std::ldexp(1.0f, -24));
}

TEST(ModelSimilarityTest, AddsSixteenAccumulatorsInOneOrder) {
  const float big = std::ldexp(1.0f, 24);  // big + 1 == big
  const auto sum = [](std::vector<float> a) {
    return ModelSimilarity(a, std::vector<float>(a.size(), 1.0f));
  };
  std::vector<float> a(16, 0.0f);
  a[0] = big, a[8] = -big, a[1] = 1, a[15] = 1;
  EXPECT_EQ(sum(a), 2);  // 0 meets 8 first
  a[8] = 0, a[4] = -big;
  EXPECT_EQ(sum(a), 2);  // then 4
  a[4] = 0, a[2] = -big;
  EXPECT_EQ(sum(a), 2);  // then 2
  a[2] = 0, a[1] = -big, a[9] = -1;
  EXPECT_EQ(sum(a), 1);  // 1 met 9, which was lost, before it met 0 together with 15
  std::vector<float> row(32, 0.0f);
  row[0] = big, row[1] = 1, row[16] = -big, row[17] = 1;
  EXPECT_EQ(sum(row), 2);  // element e goes to accumulator e mod 16
}

TEST(ModelSimilarityTest, AddsTheMissingTailAsPositiveZero) {
  const float tiny = std::ldexp(1.0f, -100);  // -tiny * tiny rounds to -0
  EXPECT_TRUE(std::signbit(ModelSimilarity(std::vector<float>(16, -tiny), std::vector<float>(16, tiny))));
  EXPECT_FALSE(std::signbit(ModelSimilarity(std::vector<float>(15, -tiny), std::vector<float>(15, tiny))));
  EXPECT_FALSE(std::signbit(ModelSimilarity(std::vector<float>(17, -tiny), std::vector<float>(17, tiny))));
}

TEST(ModelSimilarityTest, KeepsSubnormals) {
  const float subnormal = std::ldexp(1.0f, -140);
  EXPECT_EQ(ModelSimilarity({subnormal}, {0.5f}), std::ldexp(1.0f, -141));
}

TEST(ModelMemoryTest, OrdersEqualSimilaritiesBySlot) {
  ModelMemory memory({.key_dim = 4, .capacity = 4});
  memory.Train({{.x = Axis(4, 3), .value = 4}, {.x = Axis(4, 2), .value = 3}, {.x = Axis(4, 0), .value = 1}});
  std::vector<uint64_t> order;
  for (const ModelNeighbor& n : memory.Query({0, -1, 0, 0}, 3)) order.push_back(n.slot);  // +-0 alike
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
  order.clear();
  for (const ModelNeighbor& n : memory.Query({1, 0, 1, 1}, 2)) order.push_back(n.slot);
  EXPECT_THAT(order, ElementsAre(0, 1));
}

TEST(ModelMemoryTest, KeepsTheFirstPayloadAndTheLatestOnesOfHits) {
  const auto kept = [](int history) {
    ModelMemory memory({.key_dim = 2, .capacity = 1, .payload_history = history});
    for (const char* payload : {"a", "b", "c", "", "e", "f"}) {
      memory.Train({{.x = {1, 0}, .value = 7, .payload = payload}});
    }
    return memory.Payloads(0);
  };
  EXPECT_THAT(kept(0), IsEmpty());
  EXPECT_THAT(kept(1), ElementsAre(Pair(1, "a")));
  EXPECT_THAT(kept(2), ElementsAre(Pair(1, "a"), Pair(6, "f")));
  EXPECT_THAT(kept(4), ElementsAre(Pair(1, "a"), Pair(5, "e"), Pair(6, "f")));  // the empty one has a place
  EXPECT_THAT(kept(16), ElementsAre(Pair(1, "a"), Pair(2, "b"), Pair(3, "c"), Pair(5, "e"), Pair(6, "f")));
}

TEST(ModelMemoryTest, ForgetsPayloadsWithTheSlotTheyExplain) {
  ModelMemory memory({.key_dim = 2, .capacity = 1});
  memory.Train({{.x = {1, 0}, .value = 7, .payload = "old"}});
  EXPECT_EQ(OutcomesToString(memory.Train({{.x = {1, 0}, .value = 8}})), "evict:0");
  EXPECT_THAT(memory.Payloads(0), IsEmpty());
}

TEST(ModelMemoryTest, GradientsAreThoseOfCentralDifferences) {  // invariant 10
  constexpr int kDim = 6;
  const ModelSpec spec{.key_dim = kDim, .capacity = 8, .inverse_temperature = 3};
  ModelMemory memory(spec);
  RandomBits bits(5);
  const auto random_row = [&] {
    ModelRow row{.value = bits.Between(0, 2)};
    for (int e = 0; e < kDim; ++e) row.x.push_back(static_cast<float>(bits.Between(-9, 9)) + 0.5f);
    return row;
  };
  for (int i = 0; i < 12; ++i) memory.Train({random_row()});

  int hinges = 0;
  for (int i = 0; i < 20; ++i) {
    ModelRow row = random_row();
    row.write = false;
    const ModelResult r = memory.Train({row})[0];
    const std::vector<ModelNeighbor> neighbors = memory.Query(row.x, spec.choose_k);
    // Loss and confidence in float64, with the neighbors held fixed.
    const auto at = [&](const std::vector<double>& x) {
      double norm = 0;
      for (double c : x) norm += c * c;
      norm = std::sqrt(norm);
      const auto similarity = [&](const std::vector<float>& key) {
        double sum = 0;
        for (int e = 0; e < kDim; ++e) sum += x[e] / norm * key[e];
        return sum;
      };
      double mass = 0;
      for (const ModelNeighbor& n : neighbors) mass += std::exp(3 * similarity(n.key));
      return std::pair(similarity(r.negative_key) - similarity(r.positive_key) + spec.margin,
                       std::exp(3 * similarity(neighbors[0].key)) / mass);
    };
    hinges += r.loss > 0;
    for (int e = 0; e < kDim; ++e) {
      constexpr double kStep = 1e-5;
      std::vector<double> above(row.x.begin(), row.x.end());
      std::vector<double> below = above;
      above[e] += kStep;
      below[e] -= kStep;
      const auto [loss_above, confidence_above] = at(above);
      const auto [loss_below, confidence_below] = at(below);
      const double by_loss = r.loss > 0 ? (loss_above - loss_below) / (2 * kStep) : 0;
      EXPECT_NEAR(r.loss_gradient[e], by_loss, 1e-7);
      EXPECT_NEAR(r.confidence_gradient[e], (confidence_above - confidence_below) / (2 * kStep), 1e-6);
    }
  }
  EXPECT_GT(hinges, 0);
  EXPECT_LT(hinges, 20);
}

// Section 7 on random logs, with every batch mode and threshold.

struct LogCase {
  std::string name;
  ModelSpec spec;
};

std::ostream& operator<<(std::ostream& out, const LogCase& c) {
  return out << c.name;
}

class ModelMemoryLogTest : public ::testing::TestWithParam<LogCase> {
 protected:
  static RandomLogOptions Options() {
    return {.seed = 20240601,
            .key_dim = GetParam().spec.key_dim,
            .capacity = GetParam().spec.capacity,
            .value_count = 12,
            .large_percent = 8};
  }
};

TEST_P(ModelMemoryLogTest, CountsOfOutcomesAddUpToObservations) {  // invariant 2
  ModelMemory memory(GetParam().spec);
  std::map<Outcome, uint64_t> counts;
  uint64_t observations = 0;
  for (const LogEntry& entry : MakeRandomLog(Options(), 150)) {
    for (const ModelRow& row : entry.rows) observations += row.write && !row.skip;
    for (const ModelResult& r : memory.Train(entry.rows)) ++counts[r.outcome];
    const uint64_t hits = counts[Outcome::kHit] + counts[Outcome::kMerged] + counts[Outcome::kFolded];
    const uint64_t misses = counts[Outcome::kFree] + counts[Outcome::kEvict];
    const uint64_t capacity = GetParam().spec.capacity;
    ASSERT_EQ(hits + misses + counts[Outcome::kDropped], observations);
    ASSERT_EQ(memory.step(), observations);
    ASSERT_EQ(memory.live(), std::min(capacity, misses));
    ASSERT_EQ(counts[Outcome::kEvict], misses > capacity ? misses - capacity : 0);
  }
  EXPECT_GT(counts[Outcome::kHit], 0u);
  EXPECT_GT(counts[Outcome::kEvict], 0u);
  EXPECT_EQ(counts[Outcome::kMerged] > 0, GetParam().spec.merge_on_miss.has_value());
  EXPECT_EQ(counts[Outcome::kFolded] > 0, GetParam().spec.fold_misses && !GetParam().spec.sequential);
  EXPECT_EQ(counts[Outcome::kDropped] > 0, !GetParam().spec.sequential);
}

TEST_P(ModelMemoryLogTest, SlotsOfValuesAreTheLiveSlotsAndDisjoint) {  // invariant 3
  ModelMemory memory(GetParam().spec);
  for (const LogEntry& entry : MakeRandomLog(Options(), 60)) {
    memory.Train(entry.rows);
    std::set<int64_t> values;
    for (const ModelSlot& s : memory.slots()) {
      if (s.live) values.insert(s.value);
    }
    std::set<uint64_t> seen;
    for (int64_t value : values) {
      uint64_t previous = memory.step() + 1;
      for (uint64_t i : memory.SlotsOfValue(value)) {
        ASSERT_TRUE(memory.slots()[i].live);
        ASSERT_EQ(memory.slots()[i].value, value);
        ASSERT_LT(memory.slots()[i].written_step, previous);
        previous = memory.slots()[i].written_step;
        ASSERT_TRUE(seen.insert(i).second);
      }
    }
    ASSERT_EQ(seen.size(), memory.live());
  }
}

TEST_P(ModelMemoryLogTest, ReadsChangeNothing) {  // invariant 4
  ModelMemory memory(GetParam().spec);
  for (const LogEntry& entry : MakeRandomLog(Options(), 40)) {
    memory.Train(entry.rows);
    const Hash128 hash = memory.StateHash();
    const uint64_t step = memory.step();
    std::vector<ModelRow> reads = entry.rows;
    for (ModelRow& row : reads) row.write = false;
    memory.Train(reads);
    ASSERT_EQ(memory.StateHash(), hash);
    ASSERT_EQ(memory.step(), step);
  }
}

TEST_P(ModelMemoryLogTest, PowersOfTwoChangeNothing) {  // invariant 4
  ModelMemory memory(GetParam().spec);
  ModelMemory scaled(GetParam().spec);
  RandomBits bits(3);
  for (LogEntry entry : MakeRandomLog(Options(), 40)) {
    memory.Train(entry.rows);
    for (ModelRow& row : entry.rows) {
      const float factor = std::ldexp(1.0f, static_cast<int>(bits.Between(-10, 10)));
      for (float& c : row.x) c *= factor;
    }
    scaled.Train(entry.rows);
    ASSERT_EQ(memory.StateHash(), scaled.StateHash());
  }
}

// Invariant 7, replayed from outcomes and the slots before the batch alone.
TEST_P(ModelMemoryLogTest, EvictsAnEligibleSlotWithinTheNoiseOfTheOldest) {
  const ModelSpec& spec = GetParam().spec;
  ModelMemory memory(spec);
  uint64_t evictions = 0;
  for (const LogEntry& entry : MakeRandomLog(Options(), 150)) {
    std::vector<std::vector<ModelRow>> batches = {entry.rows};
    if (spec.sequential) {
      batches.clear();
      for (const ModelRow& row : entry.rows) batches.push_back({row});
    }
    for (const std::vector<ModelRow>& batch : batches) {
      std::map<uint64_t, uint64_t> eligible;  // slot -> written step
      for (uint64_t i = 0; i < memory.slots().size(); ++i) {
        if (memory.slots()[i].live) eligible[i] = memory.slots()[i].written_step;
      }
      uint64_t step = memory.step();
      const std::vector<ModelResult> results = memory.Train(batch);
      for (const ModelResult& r : results) {
        if (r.outcome == Outcome::kHit || r.outcome == Outcome::kMerged) eligible.erase(r.slot);
      }
      for (const ModelResult& r : results) {
        if (r.outcome == Outcome::kNone) continue;
        ++step;
        if (r.outcome == Outcome::kDropped) {
          ASSERT_THAT(eligible, IsEmpty());
        }
        if (r.outcome != Outcome::kEvict) continue;
        ++evictions;
        ASSERT_TRUE(eligible.contains(r.slot));
        uint64_t oldest_age = 0;
        for (const auto& [slot, written] : eligible) oldest_age = std::max(oldest_age, step - written);
        ASSERT_EQ(r.evicted_age, step - eligible[r.slot]);
        ASSERT_GE(r.evicted_age + spec.age_noise, oldest_age);
        eligible.erase(r.slot);
      }
    }
  }
  EXPECT_GT(evictions, 0u);
}

TEST_P(ModelMemoryLogTest, AnAllMissRunWithoutNoiseLeavesTheLastWrites) {  // invariant 7
  ModelSpec spec = GetParam().spec;
  spec.age_noise = 0;
  ModelMemory memory(spec);
  RandomLogOptions options = Options();
  options.large_percent = 0;  // else rows would be dropped
  options.no_write_percent = 0;
  options.skip_percent = 0;
  int64_t value = 0;
  for (LogEntry entry : MakeRandomLog(options, 40)) {
    for (ModelRow& row : entry.rows) row.value = ++value;  // never seen before: a miss
    memory.Train(entry.rows);
    for (const ModelSlot& s : memory.slots()) {
      if (!s.live) continue;
      ASSERT_EQ(s.written_step, static_cast<uint64_t>(s.value));
      ASSERT_GT(s.written_step + spec.capacity, memory.step());
    }
    ASSERT_EQ(memory.live(), std::min(spec.capacity, memory.step()));
  }
}

TEST_P(ModelMemoryLogTest, LiveKeysHaveUnitNorm) {  // invariant 1
  ModelMemory memory(GetParam().spec);
  for (const LogEntry& entry : MakeRandomLog(Options(), 60)) memory.Train(entry.rows);
  for (const ModelSlot& s : memory.slots()) {
    if (!s.live) continue;
    double sum = 0;
    for (float c : s.key) sum += double{c} * c;
    const int rounds = (GetParam().spec.key_dim + 15) / 16;
    EXPECT_NEAR(std::sqrt(sum), 1, std::ldexp(rounds + 8, -25));
  }
}

std::vector<LogCase> LogCases() {
  const auto make = [](std::string name, bool sequential, uint32_t age_noise, std::optional<float> merge,
                       std::optional<float> fold) {
    return LogCase{name,
                   {.key_dim = 19,
                    .capacity = 24,
                    .seed = 9,
                    .choose_k = 6,
                    .age_noise = age_noise,
                    .sequential = sequential,
                    .merge_on_miss = merge,
                    .fold_misses = fold}};
  };
  return {make("Atomic", false, 0, {}, {}),
          make("AtomicNoise", false, 6, {}, {}),
          make("AtomicMergeFold", false, 6, 0.5f, 0.25f),
          make("AtomicMergeFoldAnything", false, 0, -1.0f, -1.0f),
          make("Sequential", true, 0, {}, {}),
          make("SequentialNoiseMergeFold", true, 6, 0.5f, 0.25f)};
}

INSTANTIATE_TEST_SUITE_P(Specs, ModelMemoryLogTest, ::testing::ValuesIn(LogCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace evoke::testing
