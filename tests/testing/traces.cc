#include "tests/testing/traces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <utility>

namespace evoke::testing {
namespace {

class ModelUnderTest : public MemoryUnderTest {
 public:
  explicit ModelUnderTest(const ModelSpec& spec) : model_(spec) {}
  std::vector<ModelResult> Train(const std::vector<ModelRow>& rows) override { return model_.Train(rows); }
  std::vector<ModelNeighbor> Query(const std::vector<float>& x, int k) override { return model_.Query(x, k); }
  void Clear() override { model_.Clear(); }
  std::string StateHash() override { return model_.StateHash().ToString(); }
  uint64_t Step() override { return model_.step(); }

 private:
  ModelMemory model_;
};

}  // namespace

std::unique_ptr<MemoryUnderTest> MakeModelUnderTest(const ModelSpec& spec) {
  return std::make_unique<ModelUnderTest>(spec);
}

std::string OutcomesToString(const std::vector<ModelResult>& results) {
  std::string text;
  for (const ModelResult& r : results) {
    if (!text.empty()) text += ' ';
    text += ToString(r.outcome);
    if (r.outcome != Outcome::kNone && r.outcome != Outcome::kDropped) text += ':' + std::to_string(r.slot);
  }
  return text;
}

// "Seven steps by hand".

std::vector<float> AtDegrees(double degrees) {
  const double radians = degrees * std::numbers::pi / 180;
  return {static_cast<float>(std::cos(radians)), static_cast<float>(std::sin(radians))};
}

ModelSpec GoldenSpec() {
  return {.key_dim = 2, .capacity = 3, .choose_k = 3, .margin = 0.1f, .inverse_temperature = 40};
}

const std::vector<GoldenStep>& GoldenSteps() {
  static const auto& steps = *new std::vector<GoldenStep>{
      {0, 7, {}, {}, {}, 0, 0.0, Outcome::kFree, 0, 0, {0}},
      {10, 7, {0}, {7}, {0.984808}, 0, 1.0, Outcome::kHit, 0, 5, {0}},
      {90, 8, {0}, {7}, {0.087156}, 0.187156, 1.0, Outcome::kFree, 1, 90, {1, 0}},
      {80, 7, {1, 0}, {8, 7}, {0.984808, 0.258819}, 0.825989, {}, Outcome::kFree, 2, 80, {2, 1, 0}},
      {60,
       8,
       {2, 1, 0},
       {7, 8, 7},
       {0.939693, 0.866025, 0.573576},
       0.173667,
       0.950106,
       Outcome::kEvict,
       0,
       60,
       {0, 2, 1}},
      {185,
       9,
       {1, 2, 0},
       {8, 7, 8},
       {-0.087156, -0.258819, -0.573576},
       0.012844,
       0.998959,
       Outcome::kEvict,
       1,
       185,
       {1, 0, 2}},
      {0,
       9,
       {0, 2, 1},
       {8, 7, 9},
       {0.5, 0.173648, -0.996195},
       1.596195,
       {},
       Outcome::kEvict,
       2,
       0,
       {2, 1, 0}},
  };
  return steps;
}

void RunGoldenTrace(const MemoryFactory& make) {
  constexpr double kTolerance = 2e-6;
  const std::unique_ptr<MemoryUnderTest> memory = make(GoldenSpec());
  uint64_t step = 0;
  for (const GoldenStep& golden : GoldenSteps()) {
    SCOPED_TRACE("golden trace, step " + std::to_string(++step));
    const std::vector<float> x = AtDegrees(golden.degrees);

    std::vector<uint64_t> slots;
    std::vector<int64_t> values;
    std::vector<double> similarities;
    for (const ModelNeighbor& n : memory->Query(x, 3)) {
      slots.push_back(n.slot);
      values.push_back(n.value);
      similarities.push_back(n.similarity);
    }
    EXPECT_EQ(slots, golden.neighbor_slots);
    EXPECT_EQ(values, golden.neighbor_values);
    EXPECT_THAT(similarities, ::testing::Pointwise(::testing::DoubleNear(kTolerance), golden.similarities));

    const std::vector<ModelResult> results = memory->Train({{.x = x, .value = golden.value}});
    ASSERT_EQ(results.size(), 1u);
    const ModelResult& r = results[0];
    EXPECT_STREQ(ToString(r.outcome), ToString(golden.outcome));
    EXPECT_EQ(r.slot, golden.slot);
    EXPECT_NEAR(r.loss, golden.loss, kTolerance);
    if (golden.confidence) {
      EXPECT_NEAR(r.confidence, *golden.confidence, kTolerance);
    }
    EXPECT_EQ(r.answered, !golden.neighbor_values.empty());
    bool has_right = false;
    bool has_wrong = false;
    for (int64_t value : golden.neighbor_values) (value == golden.value ? has_right : has_wrong) = true;
    EXPECT_EQ(r.positive_found, has_right);  // k = M: the fallback finds nothing more
    EXPECT_EQ(r.negative_found, has_wrong);
    EXPECT_EQ(memory->Step(), step);

    std::vector<ModelNeighbor> live = memory->Query(x, 3);
    ASSERT_EQ(live.size(), golden.ages.size());
    for (const ModelNeighbor& n : live) {
      ASSERT_LT(n.slot, golden.ages.size());
      EXPECT_EQ(n.age, golden.ages[n.slot]) << "slot " << n.slot;
      if (n.slot != golden.slot) continue;
      EXPECT_EQ(n.value, golden.value);
      EXPECT_THAT(n.key,
                  ::testing::Pointwise(::testing::FloatNear(kTolerance), AtDegrees(golden.key_degrees)));
    }
  }
}

// "Hash trace".

namespace {

ModelSpec HashTraceSpec() {
  return {.key_dim = 20, .capacity = 8, .seed = 42, .choose_k = 4, .age_noise = 2};
}

ModelSpec Atomic() {
  return HashTraceSpec();
}

ModelSpec AtomicFoldMerge() {
  ModelSpec spec = HashTraceSpec();
  spec.fold_misses = 0.0f;
  spec.merge_on_miss = 0.25f;
  return spec;
}

ModelSpec Sequential() {
  ModelSpec spec = HashTraceSpec();
  spec.sequential = true;
  return spec;
}

ModelSpec SequentialMerge() {
  ModelSpec spec = Sequential();
  spec.merge_on_miss = 0.25f;
  return spec;
}

}  // namespace

const std::vector<HashTrace>& HashTraces() {
  // clang-format off
  static const auto& traces = *new std::vector<HashTrace>{
      {.name = "ATOMIC",
       .spec = Atomic(),
       .expected = {
           {0, 1, "fce9211e92268bf888fe0cdd05a45ec1", "free:0"},
           {1, 3, "cf07366f5955606f619851290964d197", "hit:0 free:1"},
           {3, 10, "9d6a6b7da8cf627137f6c409dc1d83d4", "hit:3 free:5 free:6 free:7"},
           {6, 16, "fd094c307cf6c7d5da9fca3c63ed9d1c", "evict:1 evict:4 hit:2"},
           {9, 23, "68fb2190e55a6a884d6beba2e23b1cba", "evict:1 evict:4"},
           {19, 50, "e2b20914e9fec220f6adebdd832bf736", "evict:6 evict:7 evict:1 evict:3"},
           {29, 73, "fcbb9f75178301c1990b924abc2ebfdf", "evict:0 evict:7"},
           {30, 85, "f47ffecd11c678337f8b9ede5f725571", "evict:1 hit:5 evict:3 hit:7 evict:6 evict:4 evict:2 evict:0 dropped dropped dropped dropped"},
           {39, 109, "0c47e953b0bc67f97e085cf79f967083", "evict:7 evict:2 evict:3 evict:6"},
       }},
      {.name = "ATOMIC, fold_misses 0, merge_on_miss 0.25",
       .spec = AtomicFoldMerge(),
       .expected = {
           {0, 1, "fce9211e92268bf888fe0cdd05a45ec1", "free:0"},
           {1, 3, "cf07366f5955606f619851290964d197", "hit:0 free:1"},
           {3, 10, "9d6a6b7da8cf627137f6c409dc1d83d4", "hit:3 free:5 free:6 free:7"},
           {6, 16, "fd094c307cf6c7d5da9fca3c63ed9d1c", "evict:1 evict:4 hit:2"},
           {9, 23, "4a17470c526952c511f856d20b44e513", "evict:1 merged:2"},
           {19, 50, "5a9fa51c366edcd9cee19d850d83b847", "evict:3 evict:0 evict:4 merged:2"},
           {29, 73, "b977206cc6470c8bcdf07bfc2c383c91", "evict:7 evict:2"},
           {30, 85, "c57969662cc66c992f2864140da0540f", "evict:0 hit:4 evict:5 hit:2 evict:6 evict:1 merged:2 evict:3 folded:5 folded:0 folded:6 evict:7"},
           {39, 109, "9c3633fa19192644f57f66a2d7c8ca34", "merged:0 evict:1 evict:4 evict:6"},
       }},
      {.name = "SEQUENTIAL",
       .spec = Sequential(),
       .expected = {
           {0, 1, "fce9211e92268bf888fe0cdd05a45ec1", "free:0"},
           {1, 3, "cf07366f5955606f619851290964d197", "hit:0 free:1"},
           {3, 10, "9d6a6b7da8cf627137f6c409dc1d83d4", "hit:3 free:5 free:6 free:7"},
           {6, 16, "9701053aa49f2983e726a23fe7637b3b", "evict:1 evict:2 evict:4"},
           {9, 23, "a4b08d669a7c9514f028a3efbfbe0134", "evict:1 evict:2"},
           {19, 50, "4239548d29c5633ea8d9579d0357e5e3", "evict:6 evict:7 evict:5 evict:4"},
           {29, 73, "44c2b43aaace635a37a90a9715c1bf7d", "evict:0 evict:7"},
           {30, 85, "430c49d77081a09e93754bd2794829d8", "evict:5 hit:3 evict:4 evict:6 evict:1 evict:2 hit:7 evict:0 evict:3 evict:5 evict:4 evict:6"},
           {39, 109, "e3371d62f6465686269ca0a1f267cf7b", "evict:2 evict:7 evict:6 evict:1"},
       }},
      {.name = "SEQUENTIAL, merge_on_miss 0.25",
       .spec = SequentialMerge(),
       .expected = {{39, 109, "2303be6ac911a16ff56952943c3251fd", ""}}},
      {.name = "ATOMIC, Clear before batch 20",
       .spec = Atomic(),
       .clear_before = 20,
       .expected = {{39, 109, "bdf20724962f7cf051655ba03b649c6d", ""}}},
      {.name = "ATOMIC, write = false and skip",
       .spec = Atomic(),
       .row_flags = true,
       .expected = {{39, 76, "66e08b625f0d2a25561644e11c3fa8ac", ""}}},
  };
  // clang-format on
  return traces;
}

std::vector<ModelRow> HashTraceBatch(int batch, bool row_flags) {
  const int b = batch;
  std::vector<ModelRow> rows(b == 30 ? 12 : 1 + b % 4);
  for (int j = 0; j < static_cast<int>(rows.size()); ++j) {
    for (int e = 0; e < 20; ++e) {
      const int component = (7 * (b % 5) + 3 * j + 5 * e + e * e * (j % 3 + 1)) % 23 - 11;
      rows[j].x.push_back(static_cast<float>(component));
    }
    rows[j].value = (b / 3 + j % 3) % 4;
    if (!row_flags) continue;
    rows[j].write = (b + j) % 5 != 4;
    rows[j].skip = (b + 2 * j) % 7 == 6;
  }
  return rows;
}

void RunHashTraces(const MemoryFactory& make) {
  for (const HashTrace& trace : HashTraces()) {
    SCOPED_TRACE("hash trace " + trace.name);
    const std::unique_ptr<MemoryUnderTest> memory = make(trace.spec);
    EXPECT_EQ(memory->StateHash(), std::string(32, '0'));
    size_t told = 0;
    for (int b = 0; b < kHashTraceBatches; ++b) {
      if (b == trace.clear_before) {
        const uint64_t step = memory->Step();
        memory->Clear();
        EXPECT_EQ(memory->StateHash(), std::string(32, '0'));
        EXPECT_EQ(memory->Step(), step);
      }
      const std::vector<ModelResult> results = memory->Train(HashTraceBatch(b, trace.row_flags));
      if (told == trace.expected.size() || b != trace.expected[told].batch) continue;
      const ExpectedBatch& expected = trace.expected[told++];
      SCOPED_TRACE("after batch " + std::to_string(b));
      EXPECT_EQ(memory->Step(), expected.step);
      EXPECT_EQ(memory->StateHash(), expected.hash);
      if (!expected.outcomes.empty()) {
        EXPECT_EQ(OutcomesToString(results), expected.outcomes);
      }
    }
    EXPECT_EQ(told, trace.expected.size());
  }
}

// "Corner cases".

namespace {

struct Thresholds {
  std::optional<float> merge;
  std::optional<float> fold;
};

ModelSpec CornerSpec(uint64_t capacity, int choose_k, Thresholds thresholds) {
  return {.key_dim = 4,
          .capacity = capacity,
          .choose_k = choose_k,
          .merge_on_miss = thresholds.merge,
          .fold_misses = thresholds.fold};
}

}  // namespace

const std::vector<CornerCase>& CornerCases() {
  const std::vector<float> e0 = {1, 0, 0, 0};
  const std::vector<float> e1 = {0, 1, 0, 0};
  const std::vector<float> e2 = {0, 0, 1, 0};
  static const auto& cases = *new std::vector<CornerCase>{
      {.name = "A merged is in H",
       .spec = CornerSpec(2, 2, {.merge = 0.0f}),
       .starts_empty = false,
       .last_batch = {{.x = {1, 2, 0, 0}, .value = 1}, {.x = e1, .value = 2}, {.x = e2, .value = 3}},
       .outcomes = "merged:0 hit:1 dropped",
       .step = 5,
       .hash = "59e436370f076ec91949c5906a3df816"},
      {.name = "B merge and hit in item order",
       .spec = CornerSpec(2, 2, {.merge = 0.0f}),
       .starts_empty = false,
       .last_batch = {{.x = {1, 2, 0, 0}, .value = 1}, {.x = {2, 1, 0, 0}, .value = 1}},
       .outcomes = "merged:0 hit:0",
       .step = 4,
       .hash = "3ecf39d442d77e4325a9eae879668842"},
      {.name = "C the first fold",
       .spec = CornerSpec(8, 8, {.fold = 0.5f}),
       .starts_empty = true,
       .last_batch = {{.x = e0, .value = 1},
                      {.x = {0.25f, 1, 0, 0}, .value = 1},
                      {.x = {1, 1.25f, 0, 0}, .value = 1}},
       .outcomes = "free:0 free:1 folded:0",
       .step = 3,
       .hash = "a2a712b89cd1eeaeceeebbfb93b94193"},
      {.name = "C2 the key as it is now",
       .spec = CornerSpec(8, 8, {.fold = 0.25f}),
       .starts_empty = true,
       .last_batch = {{.x = e0, .value = 1}, {.x = {1, 1, 0, 0}, .value = 1}, {.x = e1, .value = 1}},
       .outcomes = "free:0 folded:0 folded:0",
       .step = 3,
       .hash = "ed5d9a7b93f8054d581421f3e64b249e"},
      {.name = "D merge before fold",
       .spec = CornerSpec(8, 8, {.merge = 0.5f, .fold = 0.5f}),
       .starts_empty = false,
       .last_batch = {{.x = {0, 1, 1, 0}, .value = 1}, {.x = {6, 7, 4, 0}, .value = 1}},
       .outcomes = "free:2 merged:0",
       .step = 4,
       .hash = "a00b7bc825c7ca95a2862260705fcf1d"},
      {.name = "E fold at equality",
       .spec = CornerSpec(8, 8, {.fold = 0.0f}),
       .starts_empty = true,
       .last_batch = {{.x = e0, .value = 1}, {.x = e1, .value = 1}},
       .outcomes = "free:0 folded:0",
       .step = 2,
       .hash = "92bf7f31f97d46f9da7da8caf822bf91"},
      {.name = "F merge at equality",
       .spec = CornerSpec(4, 2, {.merge = 0.0f}),
       .starts_empty = false,
       .last_batch = {{.x = e1, .value = 1}},
       .outcomes = "merged:0",
       .step = 3,
       .hash = "833fff42ffad2d595b2fc26ddc04c132"},
      {.name = "G never the fallback",
       .spec = CornerSpec(4, 1, {.merge = -1.0f}),
       .starts_empty = false,
       .last_batch = {{.x = {1, 2, 0, 0}, .value = 1}},
       .outcomes = "free:2",
       .step = 3,
       .hash = "13d484fb90a249e0fb3b5ace36be0f54"},
      {.name = "H a row that does not write",
       .spec = CornerSpec(2, 2, {.merge = 0.0f}),
       .starts_empty = false,
       .last_batch = {{.x = e0, .value = 1, .write = false}, {.x = e1, .value = 2}, {.x = e2, .value = 3}},
       .outcomes = "none hit:1 evict:0",
       .step = 4,
       .hash = "fa9da0c2383df2bf13cc9d529bcc720d"},
  };
  return cases;
}

std::vector<std::vector<ModelRow>> BatchesOf(const CornerCase& corner_case) {
  std::vector<std::vector<ModelRow>> batches;
  if (!corner_case.starts_empty) {
    batches.push_back({{.x = {1, 0, 0, 0}, .value = 1}});
    batches.push_back({{.x = {0, 1, 0, 0}, .value = 2}});
  }
  batches.push_back(corner_case.last_batch);
  return batches;
}

void RunCornerCases(const MemoryFactory& make) {
  for (const CornerCase& corner_case : CornerCases()) {
    SCOPED_TRACE("corner case " + corner_case.name);
    const std::unique_ptr<MemoryUnderTest> memory = make(corner_case.spec);
    std::vector<ModelResult> results;
    for (const std::vector<ModelRow>& batch : BatchesOf(corner_case)) results = memory->Train(batch);
    EXPECT_EQ(OutcomesToString(results), corner_case.outcomes);
    EXPECT_EQ(memory->Step(), corner_case.step);
    EXPECT_EQ(memory->StateHash(), corner_case.hash);
  }
}

}  // namespace evoke::testing
