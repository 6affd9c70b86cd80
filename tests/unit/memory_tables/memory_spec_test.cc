#include "server/memory/memory_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace evoke {
namespace {

using ::testing::HasSubstr;

MemorySpec SmallSpec() {
  return {.key_dim = 8, .capacity = 64};
}

TEST(MemorySpecTest, DefaultsAreValidAndAgeNoiseFollowsTheCapacity) {
  EXPECT_TRUE(ValidateSpec(SmallSpec()).ok());
  EXPECT_EQ(MemorySpec::DefaultAgeNoise(63), 0u);
  EXPECT_EQ(MemorySpec::DefaultAgeNoise(64), 1u);
  EXPECT_EQ(MemorySpec::DefaultAgeNoise(64 * 4096), 4096u);
  EXPECT_EQ(MemorySpec::DefaultAgeNoise((uint64_t{1} << 31) - 1), 4096u);
}

struct Edit {
  std::function<void(MemorySpec&)> change;
  const char* message;  // null: still valid
};

TEST(MemorySpecTest, EveryFieldIsHeldToItsBoundsAndTheMessageNamesThem) {
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const Edit edits[] = {
      {[](MemorySpec& s) { s.key_dim = 0; }, "key_dim is 0, must be 1 to 4096"},
      {[](MemorySpec& s) { s.key_dim = 4096; }, nullptr},
      {[](MemorySpec& s) { s.key_dim = 4097; }, "key_dim is 4097"},
      {[](MemorySpec& s) { s.capacity = 0; }, "capacity is 0, must be 1 to 2147483647"},
      {[](MemorySpec& s) { s.capacity = 1; }, nullptr},
      {[](MemorySpec& s) { s.capacity = (uint64_t{1} << 31) - 1; }, nullptr},
      {[](MemorySpec& s) { s.capacity = uint64_t{1} << 31; }, "capacity is 2147483648"},
      {[](MemorySpec& s) { s.write_rule = static_cast<WriteRuleKind>(9); }, "write_rule is 9"},
      {[](MemorySpec& s) { s.choose_k = 0; }, "choose_k is 0, must be 1 to 1024"},
      {[](MemorySpec& s) { s.choose_k = 1024; }, nullptr},
      {[](MemorySpec& s) { s.choose_k = 1025; }, "choose_k is 1025"},
      {[](MemorySpec& s) { s.margin = -0.5f; }, "margin is -0.5, must be finite and >= 0"},
      {[](MemorySpec& s) { s.margin = 0; }, nullptr},
      {[](MemorySpec& s) { s.margin = kNan; }, "margin is nan"},
      {[](MemorySpec& s) { s.inverse_temperature = 0; }, "inverse_temperature is 0, must be finite and > 0"},
      {[](MemorySpec& s) { s.inverse_temperature = HUGE_VAL; }, "inverse_temperature is inf"},
      {[](MemorySpec& s) { s.age_noise = 16; }, nullptr},
      {[](MemorySpec& s) { s.age_noise = 20; }, "age_noise is 20, at most capacity / 4 = 16"},
      {[](MemorySpec& s) {
         s.capacity = 3;
         s.age_noise = 1;
       },
       "age_noise is 1, at most capacity / 4 = 0"},
      {[](MemorySpec& s) {
         s.capacity = 1 << 20;
         s.age_noise = 65536;
       },
       nullptr},
      {[](MemorySpec& s) {
         s.capacity = 1 << 20;
         s.age_noise = 65537;
       },
       "age_noise is 65537, at most 65536"},
      {[](MemorySpec& s) { s.batch = static_cast<BatchMode>(0); }, "batch is 0"},
      {[](MemorySpec& s) { s.merge_on_miss = 0; }, nullptr},
      {[](MemorySpec& s) { s.merge_on_miss = -1.0f; }, nullptr},
      {[](MemorySpec& s) { s.merge_on_miss = 1.5f; }, "merge_on_miss is 1.5, must be -1 to 1"},
      {[](MemorySpec& s) { s.fold_misses = kNan; }, "fold_misses is nan"},
      {[](MemorySpec& s) { s.payload_history = 16; }, nullptr},
      {[](MemorySpec& s) { s.payload_history = 17; }, "payload_history is 17, must be 0 to 16"},
      {[](MemorySpec& s) { s.partitions = 0; }, "partitions is 0, must be a power of two, 1 to 65536"},
      {[](MemorySpec& s) { s.partitions = 48; }, "partitions is 48"},
      {[](MemorySpec& s) { s.partitions = 65536; }, nullptr},
      {[](MemorySpec& s) { s.partitions = 131072; }, "partitions is 131072"},
      {[](MemorySpec& s) { s.durability = static_cast<SpecDurability>(4); }, "durability is 4"},
  };
  for (const Edit& edit : edits) {
    MemorySpec spec = SmallSpec();
    edit.change(spec);
    const absl::Status status = ValidateSpec(spec);
    if (edit.message == nullptr) {
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), HasSubstr(edit.message));
    }
  }
}

TEST(MemorySpecTest, TheFirstBadFieldIsNamed) {
  MemorySpec spec = SmallSpec();
  spec.partitions = 3;
  spec.choose_k = 0;
  EXPECT_THAT(std::string(ValidateSpec(spec).message()), HasSubstr("choose_k"));
}

MemorySpec OddSpec() {
  return {.key_dim = 4096,
          .capacity = 1 << 20,
          .seed = ~uint64_t{0},
          .choose_k = 7,
          .margin = 0.3f,
          .inverse_temperature = 39.36,
          .age_noise = 5,
          .batch = BatchMode::kSequential,
          .merge_on_miss = 0.0f,
          .payload_history = 0,
          .partitions = 1,
          .durability = SpecDurability::kMemory};
}

TEST(MemorySpecTest, EncodingIsReadBackAndItsDigestFollowsEveryField) {
  for (const MemorySpec& spec : {SmallSpec(), OddSpec()}) {
    const absl::StatusOr<MemorySpec> back = DecodeSpec(EncodeSpec(spec));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, spec);
    EXPECT_EQ(SpecDigest(*back), SpecDigest(spec));
  }
  MemorySpec other = SmallSpec();
  other.fold_misses = 0.0f;  // 0 is a threshold, absent is none
  EXPECT_NE(SpecDigest(other), SpecDigest(SmallSpec()));
  MemorySpec minus = other;
  minus.fold_misses = -0.0f;
  EXPECT_EQ(minus, other);
  EXPECT_EQ(SpecDigest(minus), SpecDigest(other));
}

TEST(MemorySpecTest, BytesThatAreNoSpecAreDataLossAndANewerVersionNamesBoth) {
  const std::string bytes = EncodeSpec(OddSpec());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeSpec(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(DecodeSpec(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
  std::string invalid = bytes;
  invalid[5] = 0;  // key_dim 4096 -> 0
  invalid[6] = 0;
  EXPECT_EQ(DecodeSpec(invalid).status().code(), absl::StatusCode::kDataLoss);
  std::string newer = bytes;
  newer[4] = 2;
  const absl::Status status = DecodeSpec(newer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 2, this program reads up to 1"));
}

TEST(MemorySpecTest, DifferenceNamesTheFirstFieldWithBothValues) {
  EXPECT_EQ(SpecDifference(SmallSpec(), SmallSpec()), "");
  MemorySpec wanted = SmallSpec();
  wanted.fold_misses = 0.25f;
  EXPECT_EQ(SpecDifference(SmallSpec(), wanted), "fold_misses: off, not 0.25");
  wanted.margin = std::nextafter(0.1f, 1.0f);
  EXPECT_EQ(SpecDifference(SmallSpec(), wanted), "margin: 0.1, not 0.10000001");
  wanted.key_dim = 128;
  EXPECT_EQ(SpecDifference(SmallSpec(), wanted), "key_dim: 8, not 128");
}

}  // namespace
}  // namespace evoke
