#include "server/service/convert_admin.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/unit/service/request_builders.h"

namespace evoke {
namespace {

v1::MemorySpec Smallest() {
  v1::MemorySpec spec;
  spec.set_key_dim(4);
  spec.set_capacity(6400);
  return spec;
}

TEST(ToSpecTest, FillsInTheDefaults) {
  const auto spec = ToSpec(Smallest());
  ASSERT_TRUE(spec.ok()) << spec.status();
  const v1::MemorySpec whole = ToProto(*spec);
  EXPECT_EQ(whole.write_rule(), v1::WRITE_RULE_RARE_EVENTS);
  EXPECT_EQ(whole.choose_k(), 256u);
  EXPECT_EQ(whole.margin(), 0.1f);
  EXPECT_EQ(whole.inverse_temperature(), 40);
  EXPECT_EQ(whole.age_noise(), 100u);
  EXPECT_EQ(whole.batch(), v1::BATCH_MODE_ATOMIC);
  EXPECT_FALSE(whole.has_merge_on_miss());
  EXPECT_FALSE(whole.has_fold_misses());
  EXPECT_EQ(whole.payload_history(), 4u);
  EXPECT_EQ(whole.partitions(), 64u);
  EXPECT_EQ(whole.durability(), v1::DURABILITY_FSYNC);
}

TEST(ToSpecTest, AWholeSpecComesBackAsItWas) {
  v1::MemorySpec given = Smallest();
  given.set_seed(77);
  given.set_write_rule(v1::WRITE_RULE_RARE_EVENTS);
  given.set_choose_k(1);
  given.set_margin(0);
  given.set_inverse_temperature(0.5);
  given.set_age_noise(0);
  given.set_batch(v1::BATCH_MODE_SEQUENTIAL);
  given.set_merge_on_miss(0);
  given.set_fold_misses(-1);
  given.set_payload_history(0);
  given.set_partitions(1);
  given.set_durability(v1::DURABILITY_MEMORY);
  EXPECT_EQ(ToProto(*ToSpec(given)).SerializeAsString(), given.SerializeAsString());
}

struct BadSpec {
  const char* name;
  std::function<void(v1::MemorySpec*)> spoil;
  std::string field;
};

class BadSpecTest : public ::testing::TestWithParam<BadSpec> {};

TEST_P(BadSpecTest, IsABadArgumentThatNamesAField) {
  v1::MemorySpec spec = Smallest();
  GetParam().spoil(&spec);
  const absl::Status status = ToSpec(spec).status();
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT/BAD_ARGUMENT") << status;
  EXPECT_EQ(MetadataOf(status, "field"), GetParam().field);
}

const BadSpec kBadSpecs[] = {
    {"NoDim", [](auto* s) { s->set_key_dim(0); }, "spec.key_dim"},
    {"DimTooLarge", [](auto* s) { s->set_key_dim(4097); }, "spec.key_dim"},
    {"NoCapacity", [](auto* s) { s->set_capacity(0); }, "spec.capacity"},
    {"CapacityTooLarge", [](auto* s) { s->set_capacity(uint64_t{1} << 31); }, "spec.capacity"},
    {"CapacityBeyond32Bits", [](auto* s) { s->set_capacity(~uint64_t{0}); }, "spec.capacity"},
    {"UnknownRule", [](auto* s) { s->set_write_rule(static_cast<v1::WriteRule>(9)); }, "spec.write_rule"},
    {"UnknownBatch", [](auto* s) { s->set_batch(static_cast<v1::BatchMode>(257)); },
     "spec.batch"},  // 1 in eight bits
    {"UnknownDurability", [](auto* s) { s->set_durability(static_cast<v1::Durability>(4)); },
     "spec.durability"},
    {"NegativeEnum", [](auto* s) { s->set_batch(static_cast<v1::BatchMode>(-1)); }, "spec.batch"},
    {"ChooseKZero", [](auto* s) { s->set_choose_k(0); }, "spec.choose_k"},
    {"ChooseKTooLarge", [](auto* s) { s->set_choose_k(1025); }, "spec.choose_k"},
    {"MarginNegative", [](auto* s) { s->set_margin(-0.1f); }, "spec.margin"},
    {"MarginNan", [](auto* s) { s->set_margin(NAN); }, "spec.margin"},
    {"TemperatureZero", [](auto* s) { s->set_inverse_temperature(0); }, "spec.inverse_temperature"},
    {"TemperatureInfinite", [](auto* s) { s->set_inverse_temperature(INFINITY); },
     "spec.inverse_temperature"},
    {"AgeNoiseAboveAQuarter", [](auto* s) { s->set_age_noise(1601); }, "spec.age_noise"},
    {"MergeAboveOne", [](auto* s) { s->set_merge_on_miss(1.5f); }, "spec.merge_on_miss"},
    {"FoldNan", [](auto* s) { s->set_fold_misses(NAN); }, "spec.fold_misses"},
    {"HistoryTooLong", [](auto* s) { s->set_payload_history(17); }, "spec.payload_history"},
    {"PartitionsNoPowerOfTwo", [](auto* s) { s->set_partitions(3); }, "spec.partitions"},
    {"PartitionsZero", [](auto* s) { s->set_partitions(0); }, "spec.partitions"},
};

INSTANTIATE_TEST_SUITE_P(All, BadSpecTest, ::testing::ValuesIn(kBadSpecs),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ToRequirementTest, NeedsANameAndAWholeUid) {
  v1::MemoryRef ref;
  EXPECT_EQ(MetadataOf(ToRequirement(ref).status(), "field"), "memory.name");
  ref.set_name("faces");
  ref.set_uid("123");
  EXPECT_EQ(MetadataOf(ToRequirement(ref).status(), "field"), "memory.uid");
  ref.set_uid("0123456789abcdef");
  ref.set_epoch(0);
  ref.set_min_turn(8);
  const auto requirement = ToRequirement(ref);
  ASSERT_TRUE(requirement.ok());
  EXPECT_EQ(requirement->uid.View(), "0123456789abcdef");
  EXPECT_EQ(requirement->epoch, 0u);
  EXPECT_EQ(requirement->min_turn, 8u);
}

TEST(DescriptionTest, TellsProgressWhileLoadingAndWhyWhenFailed) {
  MemoryFigures figures;
  figures.name = "faces";
  figures.state = MemoryState::kLoading;
  figures.slots_loaded = 3;
  figures.slots_to_load = 9;
  EXPECT_EQ(ToProto(figures).slots_loaded(), 3u);
  EXPECT_EQ(ToProto(figures).slots_to_load(), 9u);
  figures.state = MemoryState::kFailed;
  figures.why = absl::DataLossError("slot 7 has a wrong checksum");
  EXPECT_EQ(ToProto(figures).message(), "slot 7 has a wrong checksum");
  EXPECT_EQ(ToProto(figures).state(), v1::MEMORY_STATE_FAILED);
}

}  // namespace
}  // namespace evoke
