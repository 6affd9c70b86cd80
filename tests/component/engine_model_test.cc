// The engine beside the oracle over long random logs: equal in everything at every batch, whatever the number of
// shards, the index, how much is asked for at once, how late the shards are, and how requests fall into turns.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "tests/testing/engine_driver.h"
#include "tests/testing/twin_keys.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

uint64_t Seed() {
  const char* given = std::getenv("EVOKE_TEST_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 1;
}

struct Memory {
  const char* name;
  ModelSpec spec;
  RandomLogOptions log;
};

struct Case {
  const char* name;
  EngineOptions engine;
  int max_batches_a_turn;
};

// Specs small enough that every corner is met often, and shapes that are multiples of nothing.
std::vector<Memory> Memories() {
  const auto log = [](int dim, uint64_t capacity, RandomLogOptions o) {
    o.key_dim = dim;
    o.capacity = capacity;
    return o;
  };
  return {
      {"Atomic", {.key_dim = 20, .capacity = 24, .seed = 3, .choose_k = 8, .age_noise = 5}, log(20, 24, {.value_count = 4, .clear_percent = 1})},
      {"Sequential",
       {.key_dim = 17, .capacity = 24, .seed = 4, .choose_k = 5, .age_noise = 6, .sequential = true, .merge_on_miss = 0.3f},
       log(17, 24, {.value_count = 3, .clear_percent = 1})},
      {"MergeAndFold",
       {.key_dim = 33, .capacity = 40, .seed = 5, .choose_k = 16, .age_noise = 10, .merge_on_miss = 0.1f, .fold_misses = 0.2f, .payload_history = 2},
       log(33, 40, {.value_count = 5})},
      {"OneSlot", {.key_dim = 1, .capacity = 1, .choose_k = 1, .payload_history = 1}, log(1, 1, {.value_count = 2, .max_rows = 4})},
      {"TwoDimensions", {.key_dim = 2, .capacity = 5, .choose_k = 3, .age_noise = 1, .fold_misses = -1.0f, .payload_history = 0}, log(2, 5, {.value_count = 2})},
      {"NearTies",
       {.key_dim = 24, .capacity = 600, .seed = 9, .choose_k = 64, .age_noise = 150, .payload_history = 16},
       log(24, 600, {.value_count = 6, .max_rows = 64, .large_percent = 1, .fresh = 1, .duplicate = 2, .near_center = 12, .tie = 4})},
  };
}

std::vector<Case> Setups() {
  return {
      {"OneShard", {.shards = 1}, 1},
      {"TwoShardsFaiss", {.shards = 2, .index = "faiss_flat"}, 3},
      {"ThreeShardsTurnLate", {.shards = 3, .apply_lag_turns = 1}, 2},
      {"EightShards", {.shards = 8}, 5},
      {"TwoShardsOnTwinsOfDevices", {.shards = 2, .index = "faiss_gpu_f16", .make_device = TwinDevices()}, 3},
      {"OneAtATime", {.shards = 3, .ask_one_at_a_time = true, .apply_lag_turns = 2}, 4},
  };
}

class EngineModelTest : public ::testing::TestWithParam<std::tuple<size_t, size_t>> {
 protected:
  const Memory memory = Memories()[std::get<0>(GetParam())];
  const Case setup = Setups()[std::get<1>(GetParam())];
  ModelMemory model{memory.spec};
  EngineDriver driver{{.spec = memory.spec, .engine = setup.engine}};

  void CheckQuery(const std::vector<std::vector<float>>& rows, const QueryReply& reply,
                  const std::vector<std::vector<ModelNeighbor>>& expected) {
    const uint32_t dim = driver.spec().key_dim;
    for (size_t r = 0; r < rows.size(); ++r) {
      ASSERT_EQ(reply.neighbor_count, expected[r].size());
      for (size_t n = 0; n < expected[r].size(); ++n) {
        const size_t at = r * reply.neighbor_count + n;
        const ModelNeighbor& e = expected[r][n];
        EXPECT_EQ(reply.neighbors[at].slot, e.slot);
        EXPECT_EQ(reply.neighbors[at].value, e.value);
        EXPECT_EQ(reply.neighbors[at].similarity, e.similarity);
        EXPECT_EQ(reply.state.step.value - reply.neighbors[at].written_step, e.age);
        EXPECT_NEAR(reply.weights[at], e.weight, 1e-6);
        EXPECT_TRUE(std::equal(e.key.begin(), e.key.end(), reply.keys.begin() + at * dim));
      }
    }
  }

  // Slots and payloads as the service tells them.
  void CheckSlots() {
    std::vector<uint64_t> all(memory.spec.capacity);
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    absl::StatusOr<SlotsReply> reply;
    std::vector<Task> tasks;
    tasks.push_back(driver.SlotsTask(all, {0, -1}, &reply));
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    ASSERT_TRUE(reply.ok()) << reply.status();
    auto got = reply->slots.begin();
    for (size_t i = 0; i < all.size(); ++i) {
      const ModelSlot& slot = model.slots()[i];
      if (!slot.live) continue;
      ASSERT_NE(got, reply->slots.end());
      EXPECT_EQ(got->content.state.slot, i);
      EXPECT_EQ(got->content.state.value, slot.value);
      EXPECT_EQ(got->content.state.written_step, slot.written_step);
      EXPECT_EQ(got->content.state.hits, slot.hits);
      EXPECT_EQ(got->content.key, slot.key);
      std::vector<std::pair<uint64_t, std::string>> payloads;
      for (const Payload& p : got->payloads) payloads.emplace_back(p.step.value, p.bytes);
      EXPECT_EQ(payloads, model.Payloads(i));
      ++got;
    }
    EXPECT_EQ(got, reply->slots.end());
    for (size_t v : {0, 1}) {
      std::vector<uint64_t> slots;
      for (const SlotAnswer& a : reply->values[v].slots) slots.push_back(a.content.state.slot);
      EXPECT_EQ(slots, model.SlotsOfValue(v == 0 ? 0 : -1));
      EXPECT_EQ(reply->values[v].count.live_slots, slots.size());
    }
  }
};

TEST_P(EngineModelTest, EqualAtEveryBatch) {
  RandomLogOptions log_options = memory.log;
  log_options.seed = Seed();
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << log_options.seed);
  RandomLog log(log_options);
  RandomBits bits(log_options.seed + 99);
  const int turns = memory.spec.capacity > 100 ? 60 : 250;
  for (int turn = 0; turn < turns; ++turn) {
    SCOPED_TRACE(::testing::Message() << "turn " << turn);
    // Reads of a turn see the state at its start.
    std::vector<std::vector<float>> rows;
    std::vector<std::vector<ModelNeighbor>> expected_neighbors;
    std::vector<Task> tasks;
    std::vector<std::vector<ModelResult>> expected;
    const size_t batches = 1 + bits.Below(setup.max_batches_a_turn);
    std::vector<absl::StatusOr<ObserveReply>> replies(batches);
    absl::StatusOr<QueryReply> query;
    std::vector<LogEntry> reads;
    bool clear = false;
    for (size_t b = 0; b < batches && !clear; ++b) {
      LogEntry entry = log.Next();
      if (entry.clear) {
        if (!tasks.empty()) break;  // a Clear is alone in its turn
        clear = true;
        model.Clear();
        tasks.push_back(driver.ClearTask());
        break;
      }
      bool writes = false;
      for (const ModelRow& row : entry.rows) writes |= row.write && !row.skip;
      if (!writes && b > 0) continue;  // a read: the oracle would have to look at the turn's start
      for (const ModelRow& row : entry.rows) {
        if (b == 0 && !row.skip && rows.size() < 2) rows.push_back(row.x);
      }
      if (b == 0) {
        for (const auto& x : rows) expected_neighbors.push_back(model.Query(x, 7));
      }
      tasks.push_back(driver.ObserveTask(entry.rows, &replies[expected.size()]));
      expected.push_back(model.Train(entry.rows));
    }
    if (!rows.empty()) tasks.push_back(driver.QueryTask(rows, 7, &query));
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    ASSERT_EQ(driver.state().state_hash.ToString(), model.StateHash().ToString());
    ASSERT_EQ(driver.state().name.step.value, model.step());
    ASSERT_EQ(driver.state().live_count, model.live());
    for (size_t b = 0; b < expected.size(); ++b) {
      SCOPED_TRACE(::testing::Message() << "batch " << b);
      ASSERT_TRUE(replies[b].ok()) << replies[b].status();
      ExpectEqualResults(expected[b], *replies[b], driver.spec().key_dim);
    }
    if (!rows.empty()) CheckQuery(rows, *query, expected_neighbors);
    if (turn % 40 == 39) CheckSlots();
    if (HasFailure()) return;
  }
  std::set<int64_t> values;
  for (const ModelSlot& slot : model.slots()) {
    if (slot.live) values.insert(slot.value);
  }
  EXPECT_EQ(driver.state().distinct_values, values.size());
  if (setup.engine.ask_one_at_a_time && memory.spec.capacity > 1) {
    EXPECT_GT(driver.more_requests(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineModelTest,
                         ::testing::Combine(::testing::Range<size_t>(0, 6), ::testing::Range<size_t>(0, 5)),
                         [](const auto& info) {
                           return std::string(Memories()[std::get<0>(info.param)].name) + "_" +
                                  Setups()[std::get<1>(info.param)].name;
                         });

}  // namespace
}  // namespace evoke::testing
