// The plan against memories that are really there, full, and whose values have come and gone.
#include "server/engine/memory_plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "server/engine/local_shard.h"
#include "tests/testing/twin_keys.h"

namespace evoke {
namespace {

class InlineScheduler final : public Scheduler {
 public:
  void Post(Work work) override { work(); }
};

struct Measured {
  uint64_t full = 0;      // right after a load
  uint64_t worst = 0;     // ever, while every slot got other values
};

// Fills the memory with a value of its own in each slot, then writes all slots again with new values.
Measured Measure(const MemorySpec& spec, const PlanOptions& options) {
  InlineScheduler scheduler;
  const uint32_t count = ShardCount(spec, options.engine, options.cores);
  Measured sum;
  for (uint32_t s = 0; s < count; ++s) {
    LocalShard::Options o{.spec = spec, .index = options.engine.index, .scheduler = &scheduler, .width = 2};
    for (uint32_t p = s; p < spec.partitions; p += count) o.partitions.push_back(Partition(p));
    auto shard = LocalShard::Create(std::move(o));
    EXPECT_TRUE(shard.ok()) << shard.status();
    std::vector<float> key(spec.key_dim);
    key[0] = 1;
    std::vector<uint64_t> slots;
    for (uint64_t i = 0; i < spec.capacity; ++i) {
      if (i % spec.partitions % count == s) slots.push_back(i);
    }
    for (const uint64_t i : slots) {
      EXPECT_TRUE((*shard)->Load(SlotId(i), static_cast<int64_t>(i), Step(i + 1), 0, key).ok());
    }
    (*shard)->FinishLoad(Turn(0), Epoch(1));
    const auto bytes = [&] {
      uint64_t now = 0;
      (*shard)->Figures([&](absl::StatusOr<ShardFigures> f) { now = f->memory_bytes; });
      return now;
    };
    const uint64_t full = bytes();
    uint64_t worst = full;
    uint64_t step = spec.capacity;
    uint64_t turn = 0;
    for (size_t at = 0; at < slots.size(); at += 512) {
      auto record = std::make_shared<TurnRecord>(TurnRecord{.epoch = Epoch(1), .turn = Turn(++turn)});
      for (size_t i = at; i < std::min(at + 512, slots.size()); ++i) {
        ++step;
        record->writes.push_back({.slot = SlotId(slots[i]),
                                  .kind = WriteKind::kEvict,
                                  .value = -static_cast<int64_t>(step),
                                  .written_step = Step(step),
                                  .key = key});
      }
      (*shard)->Apply(record, [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
      worst = std::max(worst, bytes());
    }
    sum.full += full;
    sum.worst += worst;
  }
  return sum;
}

struct Shape {
  const char* index;
  uint32_t key_dim;
  uint64_t capacity;
  uint32_t shards;
};

class MemoryPlanTest : public ::testing::TestWithParam<Shape> {};

// Below by what the map of values may come to take, above by nothing.
TEST_P(MemoryPlanTest, IsNotLessThanAFullMemoryTakesAndLittleMore) {
  const Shape shape = GetParam();
  const MemorySpec spec{.key_dim = shape.key_dim, .capacity = shape.capacity};
  const PlanOptions options{.engine = {.shards = shape.shards, .index = shape.index}};
  const absl::StatusOr<MemoryPlan> plan = PlanOf(spec, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const Measured measured = Measure(spec, options);
  const uint64_t planned = plan->table_bytes + plan->index_bytes;
  EXPECT_GE(planned, measured.worst);
  EXPECT_LE(planned, measured.worst + measured.worst / 50 + 4096);
  EXPECT_LE(planned, measured.full + 32 * spec.capacity + 4096);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MemoryPlanTest,
                         ::testing::Values(Shape{"flat", 128, 8192, 2}, Shape{"faiss_flat", 128, 8192, 2},
                                           Shape{"flat", 8, 108'000, 1}, Shape{"faiss_flat", 16, 40'501, 3},
                                           Shape{"flat", 2, 16, 2}, Shape{"faiss_flat", 2, 5, 8}));

TEST(MemoryPlanOfTest, DiskHoldsSlotsPayloadsAndRecordsAndAnEphemeralMemoryNone) {
  MemorySpec spec{.key_dim = 128, .capacity = 1000, .payload_history = 4};
  const PlanOptions options{.keep_records_bytes = 1 << 20};
  const MemoryPlan plan = *PlanOf(spec, options);
  EXPECT_GE(plan.disk_slot_bytes, 1000 * (4 * 128 + 42));
  EXPECT_GE(plan.payload_bytes, 1000 * 4 * 4096);
  EXPECT_GE(plan.disk_record_bytes, (1 << 20) + options.engine.max_reply_bytes);
  EXPECT_EQ(plan.disk_bytes,
            plan.disk_slot_bytes + plan.payload_bytes + plan.disk_record_bytes + plan.disk_headroom_bytes);
  EXPECT_GT(plan.recovery_seconds_estimate, 0);
  spec.durability = SpecDurability::kMemory;
  const MemoryPlan ephemeral = *PlanOf(spec, options);
  EXPECT_EQ(ephemeral.disk_bytes, 0u);
  EXPECT_EQ(ephemeral.ram_bytes, plan.ram_bytes);
  EXPECT_EQ(ephemeral.payload_bytes, plan.payload_bytes);
}

TEST(MemoryPlanOfTest, TheLargestMemoryDoesNotOverflow) {
  const MemorySpec spec{
      .key_dim = 4096, .capacity = (uint64_t{1} << 31) - 1, .payload_history = 16, .partitions = 65536};
  const MemoryPlan plan = *PlanOf(spec, {.engine = {.index = "faiss_flat"}, .cores = 16});
  EXPECT_GE(plan.ram_bytes, spec.capacity * 4096 * 8);
  EXPECT_GE(plan.disk_bytes, spec.capacity * 16 * 4096);
}

TEST(MemoryPlanOfTest, AnIndexOnADeviceTakesItsMemoryAndNoneOfTheMachines) {
  EngineOptions engine{.index = "faiss_gpu"};
  if (CudaVersion() == "off") {
    EXPECT_TRUE(absl::IsUnimplemented(PlanOf({.key_dim = 8, .capacity = 100}, {.engine = engine}).status()));
  }
  engine.make_device = TwinDevices();
  const MemorySpec spec{.key_dim = 128, .capacity = 100'000};
  const MemoryPlan plan = *PlanOf(spec, {.engine = engine, .cores = 16});
  EXPECT_EQ(plan.gpu_bytes, 150'000u * 512);
  EXPECT_EQ(plan.index_bytes, 0u);
  EXPECT_EQ(PlanOf(spec, {})->gpu_bytes, 0u);
  EXPECT_EQ(ShardCount(spec, engine, 16), 1u);
  engine.gpu_devices = {0, 2, 3};
  EXPECT_EQ(ShardCount(spec, engine, 16), 3u);
  engine.shards = 8;
  EXPECT_EQ(ShardCount(spec, engine, 16), 8u);
}

TEST(MemoryPlanOfTest, AnUnknownIndexIsRefused) {
  EXPECT_EQ(PlanOf({.key_dim = 2, .capacity = 2}, {.engine = {.index = "magic"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace evoke
