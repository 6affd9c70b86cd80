#include "server/memory/shard_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

struct Row {
  SlotFields fields;
  std::vector<float> key;
};
using Model = std::map<uint32_t, Row>;

// Everything that ShardSlots tells, against a map of rows.
void ExpectEqual(const ShardSlots& slots, const Model& model) {
  ASSERT_EQ(slots.table().live_count(), model.size());
  ASSERT_EQ(slots.free().count(), slots.table().capacity() - model.size());
  std::vector<std::pair<uint64_t, uint32_t>> by_age;
  std::map<int64_t, std::vector<std::pair<uint64_t, uint32_t>>> by_value;
  std::map<int64_t, uint64_t> observations;
  for (uint32_t p = 0; p < slots.table().capacity(); ++p) {
    const auto it = model.find(p);
    ASSERT_EQ(slots.table().IsLive(p), it != model.end());
    ASSERT_EQ(slots.free().IsFree(p), it == model.end());
    if (it == model.end()) continue;
    ASSERT_LT(p, slots.table().rows());
    const SlotFields f = slots.table().fields(p);
    ASSERT_EQ(f.value, it->second.fields.value);
    ASSERT_EQ(f.written_step, it->second.fields.written_step);
    ASSERT_EQ(f.hits, it->second.fields.hits);
    ASSERT_TRUE(std::ranges::equal(slots.table().CopyKey(p), it->second.key));
    by_age.emplace_back(f.written_step, p);
    by_value[f.value].emplace_back(f.written_step, p);
    observations[f.value] += 1 + f.hits;
  }
  std::sort(by_age.begin(), by_age.end());
  uint32_t at = slots.ages().oldest();
  for (const auto& [step, p] : by_age) {
    ASSERT_EQ(at, p);
    at = slots.ages().Next(at);
  }
  ASSERT_EQ(at, AgeOrder::kNone);
  ASSERT_EQ(slots.values().distinct_values(), by_value.size());
  for (auto& [value, rows] : by_value) {
    std::sort(rows.rbegin(), rows.rend());
    const ValueIndex::Entry entry = slots.values().Find(value);
    ASSERT_EQ(entry.live_slots, rows.size());
    ASSERT_EQ(entry.observations, observations[value]);
    uint32_t newest = entry.newest;
    for (const auto& [step, p] : rows) {
      ASSERT_EQ(newest, p);
      newest = slots.values().Older(newest);
    }
    ASSERT_EQ(newest, ValueIndex::kNone);
  }
}

TEST(ShardSlotsTest, AgreesWithAMapThroughWritesFreesAndClears) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kCapacity = 131;
  constexpr uint32_t kDim = 3;
  ShardSlots slots = *ShardSlots::Create(kCapacity, kDim);
  Model model;
  uint64_t step = 0;
  for (int i = 0; i < 4000; ++i) {
    const uint32_t p = static_cast<uint32_t>(random() % kCapacity);
    const uint64_t dice = random() % 1000;
    if (dice == 0) {
      slots.Clear();
      model.clear();
    } else if (dice < 250) {
      if (model.erase(p) > 0) slots.Free(p);
    } else {
      const auto it = model.find(p);
      const bool hit = it != model.end() && dice < 600;
      Row row{{hit ? it->second.fields.value : static_cast<int64_t>(random() % 9) - 4, ++step,
               hit ? it->second.fields.hits + 1 : 0},
              RandomVector(random, Kind::kWide, kDim)};
      slots.Write(p, row.fields, row.key);
      model[p] = row;
    }
    if (i % 16 == 0) {
      ASSERT_NO_FATAL_FAILURE(ExpectEqual(slots, model));
    }
  }
}

TEST(ShardSlotsTest, LoadingInAnyOrderGivesTheSameOrdersAsWriting) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kCapacity = 500;
  // Steps that are all equal, mostly equal, far apart, and any at all.
  for (const uint64_t span : {uint64_t{1}, uint64_t{7}, uint64_t{1} << 40, ~uint64_t{0}}) {
    Model model;
    for (uint32_t p = 0; p < kCapacity; ++p) {
      if (random() % 3 == 0) continue;
      model[p] = {{static_cast<int64_t>(random() % 20), 5 + random() % span, static_cast<uint32_t>(random() % 5)},
                  RandomVector(random, Kind::kNormal, 4)};
    }
    std::vector<uint32_t> order;
    for (const auto& [p, row] : model) order.push_back(p);
    std::shuffle(order.begin(), order.end(), random);
    ShardSlots slots = *ShardSlots::Create(kCapacity, 4);
    for (const uint32_t p : order) slots.Load(p, model[p].fields, model[p].key);
    slots.FinishLoad();
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(slots, model)) << "span " << span;
  }
}

TEST(ShardSlotsTest, AWriteTouchesAsMuchInALargeMemoryAsInASmallOne) {
  std::mt19937_64 random = SeededGenerator();
  const std::vector<float> key(2, 0.5f);
  for (const uint32_t capacity : {64u, 65'536u}) {
    ShardSlots slots = *ShardSlots::Create(capacity, 2);
    uint64_t step = 0;
    for (uint32_t p = 0; p < capacity; ++p) slots.Write(p, {static_cast<int64_t>(p % 3), ++step, 0}, key);
    for (int i = 0; i < 1000; ++i) {
      const uint64_t before = slots.rows_touched();
      slots.Write(static_cast<uint32_t>(random() % capacity), {static_cast<int64_t>(random() % 3), ++step, 0},
                  key);
      ASSERT_LE(slots.rows_touched() - before, 11u);
    }
  }
}

// The memory's own allocations: at most 1.1 x raw keys + 64 bytes a slot + 48 bytes a distinct value, here
// with every value distinct, and without the tenth.
TEST(ShardSlotsTest, StaysWithinItsBudgetWithEveryValueDistinct) {
  constexpr uint64_t kCapacity = 524'288 / 4;
  constexpr uint64_t kDim = 128;
  ShardSlots slots = *ShardSlots::Create(kCapacity, kDim);
  const uint64_t empty = slots.MemoryBytes();
  EXPECT_LE(empty, kCapacity * 17) << "an empty memory must not take its keys' space";
  const std::vector<float> key(kDim, 0.0883883f);
  for (uint32_t p = 0; p < kCapacity; ++p) slots.Write(p, {p, p + 1, 0}, key);
  EXPECT_LE(slots.MemoryBytes(), kCapacity * (kDim * sizeof(float) + 64 + 48));
  std::cout << "bytes a slot beyond its key: "
            << static_cast<double>(slots.MemoryBytes()) / kCapacity - kDim * sizeof(float) << std::endl;
  slots.Clear();
  EXPECT_LE(slots.MemoryBytes(), empty);
}

TEST(ShardSlotsTest, AShardWithoutPositionsIsLegalAndStaysEmpty) {
  ShardSlots slots = *ShardSlots::Create(0, 16);
  slots.FinishLoad();
  slots.Clear();
  EXPECT_EQ(slots.table().live_count(), 0u);
  EXPECT_EQ(slots.free().Next(0), FreeSlots::kNone);
}

}  // namespace
}  // namespace evoke
