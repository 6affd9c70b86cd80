// Invariants 1, 2, 3 and 7 of semantics.md, section 7: what slots hold, and which goes.
#include <gtest/gtest.h>

#include <set>

#include "tests/component/invariants.h"

namespace evoke::testing {
namespace {

class InvariantsTest : public InvariantsTestBase {};

INSTANTIATE_TEST_SUITE_P(Memories, InvariantsTest, ::testing::ValuesIn(kMemories),
                         [](const auto& info) { return info.param.name; });

class NormTest : public ::testing::TestWithParam<int> {};

TEST_P(NormTest, LiveKeysKeepNormOneThroughManyReinforcements) {
  const int dim = GetParam();
  EngineDriver driver({.spec = {.key_dim = dim, .capacity = 1, .choose_k = 1}, .partitions = 1});
  RandomBits bits(Seed());
  const double bound = (Blocks(dim) + 8) * 0x1p-25;
  uint32_t hits = 0;
  for (int done = 0; done < kReinforcements;) {
    std::vector<ModelRow> rows(std::min(4096, kReinforcements - done + 1));
    for (ModelRow& row : rows) {
      for (int e = 0; e < dim; ++e) row.x.push_back(static_cast<float>(bits.Between(-1000, 1000)) + 0.5f);
    }
    const ObserveReply reply = Train(driver, rows, ObserveForm::kScores);
    hits +=
        static_cast<uint32_t>(std::count(reply.outcomes.begin(), reply.outcomes.end(), evoke::Outcome::kHit));
    done = static_cast<int>(hits) + (hits == 0 ? 1 : 0);
    const std::vector<SlotAnswer> slots = AllSlots(driver);
    ASSERT_EQ(slots.size(), 1u);
    ASSERT_NEAR(Norm64(slots[0].content.key.data(), dim), 1, bound) << "after " << hits;
    ASSERT_EQ(slots[0].content.state.hits, hits);
  }
  EXPECT_GE(hits, static_cast<uint32_t>(kReinforcements));
}

INSTANTIATE_TEST_SUITE_P(Dimensions, NormTest, ::testing::Values(1, 2, 16, 17, 100));

TEST_P(InvariantsTest, OnlyLiveSlotsAppearAndTheirKeysHaveNormOne) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions(/*clear_percent=*/3));
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    if (entry.clear) {
      Clear(driver);
      shadow.Clear();
      continue;
    }
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    ASSERT_FALSE(HasFailure());
    const std::vector<SlotAnswer> slots = AllSlots(driver);
    ASSERT_EQ(slots.size(), shadow.live.size());
    for (const SlotAnswer& slot : slots) {
      const SlotState& s = slot.content.state;
      ASSERT_TRUE(shadow.live.contains(s.slot));
      EXPECT_EQ((Shadow::Slot{s.value, s.written_step, s.hits}), shadow.live.at(s.slot));
      EXPECT_NEAR(Norm64(slot.content.key.data(), spec.key_dim), 1, (Blocks(spec.key_dim) + 8) * 0x1p-25);
    }
    const std::vector<float> x(static_cast<size_t>(spec.key_dim), 1);
    for (const uint32_t k : {1u, 7u, 1000u}) {
      const QueryReply reply = Query(driver, {x}, k);
      ASSERT_EQ(reply.neighbor_count, std::min<size_t>(k, shadow.live.size()));
      for (const ScoredSlot& n : reply.neighbors) EXPECT_TRUE(shadow.live.contains(n.slot));
    }
  }
}

TEST_P(InvariantsTest, CountsOfOutcomesAddUp) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions());
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    using enum evoke::Outcome;
    const uint64_t hits = shadow.Count(kHit) + shadow.Count(kMerged) + shadow.Count(kFolded);
    const uint64_t misses = shadow.Count(kFree) + shadow.Count(kEvict);
    ASSERT_EQ(hits + misses + shadow.Count(kDropped), driver.state().name.step.value);
    ASSERT_EQ(driver.state().live_count, std::min(spec.capacity, misses));
    ASSERT_EQ(shadow.Count(kEvict), misses > spec.capacity ? misses - spec.capacity : 0);
  }
}

TEST_P(InvariantsTest, ValueIndexIsTheLiveSlotsDisjointAndNewestFirst) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions(/*clear_percent=*/3));
  std::set<int64_t> values;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    if (entry.clear) {
      Clear(driver);
      shadow.Clear();
      continue;
    }
    for (const ModelRow& row : entry.rows) values.insert(row.value);
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    absl::StatusOr<SlotsReply> reply;
    std::vector<Task> tasks;
    tasks.push_back(driver.SlotsTask({}, {values.begin(), values.end()}, &reply));
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    uint64_t listed = 0, present = 0;
    for (const SlotsReply::OfValue& of_value : reply->values) {
      uint64_t observations = 0;
      for (size_t n = 0; n < of_value.slots.size(); ++n) {
        const SlotState& s = of_value.slots[n].content.state;
        EXPECT_EQ(shadow.live.at(s.slot).value, of_value.count.value);
        EXPECT_TRUE(n == 0 || s.written_step < of_value.slots[n - 1].content.state.written_step);
        observations += 1 + s.hits;
      }
      EXPECT_EQ(of_value.count.live_slots, of_value.slots.size());
      EXPECT_EQ(of_value.count.observations, observations);
      listed += of_value.slots.size();
      present += of_value.slots.empty() ? 0 : 1;
    }
    ASSERT_EQ(listed, shadow.live.size()) << "each live slot under one value, so none twice";
    ASSERT_EQ(driver.state().distinct_values, present);
  }
}

TEST_P(InvariantsTest, EvictedIsAmongTheOldestEligibleWithinTheNoise) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions());
  uint64_t evictions = 0;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    const ObserveReply reply = Train(driver, entry.rows);
    // Written steps of the slots that may be evicted: of an ATOMIC batch those that none of its rows hits or
    // merges with, and that it has not written yet.
    std::map<uint64_t, uint64_t> eligible;
    for (const auto& [slot, content] : shadow.live) eligible[slot] = content.written_step;
    for (size_t r = 0; r < entry.rows.size() && !spec.sequential; ++r) {
      if (reply.outcomes[r] == evoke::Outcome::kHit || reply.outcomes[r] == evoke::Outcome::kMerged)
        eligible.erase(reply.slots[r]);
    }
    uint64_t step = shadow.step;
    for (size_t r = 0; r < entry.rows.size(); ++r) {
      if (!entry.rows[r].write || entry.rows[r].skip) continue;
      ++step;
      if (reply.outcomes[r] == evoke::Outcome::kEvict) {
        uint64_t oldest = step;
        for (const auto& [slot, written] : eligible) oldest = std::min(oldest, written);
        ASSERT_TRUE(eligible.contains(reply.slots[r])) << "row " << r << " evicted what it must not";
        ASSERT_LE(eligible.at(reply.slots[r]), oldest + spec.age_noise) << "row " << r;
        ++evictions;
      }
      if (reply.outcomes[r] == evoke::Outcome::kDropped) {
        ASSERT_TRUE(eligible.empty()) << "row " << r << " was dropped although a slot could go";
      } else if (spec.sequential) {
        eligible[reply.slots[r]] = step;
      } else {
        eligible.erase(reply.slots[r]);
      }
    }
    shadow.Apply(entry.rows, reply);
  }
  EXPECT_GT(evictions, 100u);
}

TEST(EvictionTest, SurvivorsOfAnAllMissRunWithoutNoiseAreTheLastWrites) {
  for (const bool sequential : {false, true}) {
    constexpr uint64_t kCapacity = 37;
    EngineDriver driver(
        {.spec = {.key_dim = 8, .capacity = kCapacity, .choose_k = 4, .sequential = sequential},
         .engine = {.shards = 3}});
    RandomBits bits(Seed());
    int64_t value = 0;
    for (int i = 0; i < kEntries; ++i) {
      std::vector<ModelRow> rows(1 + bits.Below(kCapacity));
      for (ModelRow& row : rows) {
        for (int e = 0; e < 8; ++e) row.x.push_back(static_cast<float>(bits.Between(-50, 50)) + 0.5f);
        row.value = ++value;  // a value that nobody has: a miss
      }
      Train(driver, rows);
      std::set<int64_t> survivors;
      for (const SlotAnswer& slot : AllSlots(driver)) {
        survivors.insert(slot.content.state.value);
        EXPECT_EQ(slot.content.state.written_step, static_cast<uint64_t>(slot.content.state.value));
      }
      ASSERT_EQ(survivors.size(), std::min<uint64_t>(kCapacity, static_cast<uint64_t>(value)));
      ASSERT_EQ(*survivors.begin(), std::max<int64_t>(1, value - static_cast<int64_t>(kCapacity) + 1));
    }
  }
}

}  // namespace
}  // namespace evoke::testing
