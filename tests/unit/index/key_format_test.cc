#include "server/index/key_format.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "server/index/device_plan.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"
#include "tests/testing/index_oracle.h"

namespace evoke {
namespace {

TEST(KeyFormatTest, EveryFloat16SurvivesTheWayThereAndBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    const float x = FromFloat16(bits);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(FromFloat16(ToFloat16(x))));
    } else {
      EXPECT_EQ(ToFloat16(x), bits) << half;
    }
  }
  EXPECT_EQ(FromFloat16(0x3c00), 1.0f);
  EXPECT_EQ(FromFloat16(0x0001), 0x1p-24f);
  EXPECT_EQ(FromFloat16(0x7bff), 65504.0f);
  EXPECT_EQ(FromFloat16(0xfc00), -std::numeric_limits<float>::infinity());
}

// Every number between two neighbors goes to the nearer one, the one in the middle to the even one.
TEST(KeyFormatTest, RoundsToTheNearestTiesToEven) {
  for (uint32_t half = 0; half < 0x7bff; ++half) {
    const float low = FromFloat16(static_cast<uint16_t>(half));
    const float high = FromFloat16(static_cast<uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;  // exact: a float32 has 13 bits more
    const uint16_t even = static_cast<uint16_t>(half + (half & 1));
    for (const float sign : {1.0f, -1.0f}) {
      const uint16_t minus = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(ToFloat16(sign * middle), minus | even) << half;
      ASSERT_EQ(ToFloat16(sign * std::nextafter(middle, 0.0f)), minus | half) << half;
      ASSERT_EQ(ToFloat16(sign * std::nextafter(middle, 1e9f)), minus | (half + 1)) << half;
    }
  }
  EXPECT_EQ(ToFloat16(65519.996f), 0x7bff);
  EXPECT_EQ(ToFloat16(65520.0f), 0x7c00);
  EXPECT_EQ(ToFloat16(-1e30f), 0xfc00);
  EXPECT_EQ(ToFloat16(1e-30f), 0);
}

TEST(KeyFormatTest, LossIsTheDistanceToWhatIsEncoded) {
  std::mt19937_64 random = SeededGenerator();
  const std::vector<float> x = Unit(random, 300);
  const EncodingLoss none = LossOf(KeyFormat::kFloat32, x.data(), 300);
  EXPECT_EQ(none.lost, 0);
  EXPECT_NEAR(none.norm, 1, 1e-6);
  const EncodingLoss half = LossOf(KeyFormat::kFloat16, x.data(), 300);
  EXPECT_EQ(half.norm, none.norm);
  EXPECT_GT(half.lost, 1e-5);
  EXPECT_LT(half.lost, 0x1p-11);
  const float huge = 1e30f;
  EXPECT_EQ(LossOf(KeyFormat::kFloat16, &huge, 1).lost, std::numeric_limits<double>::infinity());
}

// A unit that cuts every sum off after 24 bits of its largest term, four products at a time, toward zero: the worst that
// the bound's derivation admits.
float CutSum(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); e += 4) {
    double largest = std::abs(sum);
    std::vector<double> terms = {sum};
    for (size_t i = e; i < std::min(e + 4, a.size()); ++i) {
      terms.push_back(double{a[i]} * double{b[i]});
      largest = std::max(largest, std::abs(terms.back()));
    }
    if (largest == 0) continue;
    const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
    double total = 0;
    for (const double term : terms) total += std::trunc(term / unit) * unit;
    const double place = std::ldexp(1.0, std::ilogb(total == 0 ? 1.0 : total) - 23);
    sum = std::trunc(total / place) * place;
  }
  return static_cast<float>(sum);
}

TEST(TensorCoreErrorBoundTest, HoldsForSumsThatAreCutOff) {
  std::mt19937_64 random = SeededGenerator();
  for (const uint32_t dim : {1u, 3u, 16u, 100u, 1000u, 4096u}) {
    for (int round = 0; round < 30; ++round) {
      std::vector<float> a = Unit(random, dim);
      std::vector<float> b = Unit(random, dim);
      if (round % 3 == 0) b = a;  // all terms positive: what is cut off adds up
      const EncodingLoss of_a = LossOf(KeyFormat::kFloat16, a.data(), dim);
      const EncodingLoss of_b = LossOf(KeyFormat::kFloat16, b.data(), dim);
      const float exact = Similarity(a.data(), b.data(), static_cast<int>(dim));
      for (float& x : a) x = FromFloat16(ToFloat16(x));
      for (float& x : b) x = FromFloat16(ToFloat16(x));
      const double bound = TensorCoreErrorBound(static_cast<int>(dim), of_a.norm, of_a.lost, of_b.norm, of_b.lost);
      ASSERT_LE(std::abs(double{CutSum(a, b)} - double{exact}), bound) << dim;
      ASSERT_LT(bound, 0.01);
    }
  }
  EXPECT_EQ(TensorCoreErrorBound(8, 1e30, 0, 1e30, 0), std::numeric_limits<double>::infinity());
}

TEST(DevicePlanTest, ABufferDoublesAndTakesHalfOfItsCapacityBesidesAtMost) {
  for (const uint64_t capacity : {uint64_t{1}, uint64_t{5000}, uint64_t{100'003}, uint64_t{33'554'432}}) {
    uint64_t room = 0;
    int grown = 0;
    for (uint64_t rows = 1; room < capacity; rows = room + 1, ++grown) {
      const uint64_t larger = GrownRows(room, rows, capacity);
      ASSERT_GE(larger, rows);
      ASSERT_LE(larger, capacity);
      ASSERT_LE(room + larger, capacity * 3 / 2 + 1);
      room = larger;
    }
    EXPECT_LE(grown, 14);
    EXPECT_EQ(GrownRows(capacity, capacity, capacity), capacity);
  }
  EXPECT_EQ(PlannedDeviceBytes("faiss_gpu", 128, 1000), 1500u * 512);
  EXPECT_EQ(PlannedDeviceBytes("faiss_gpu_f16", 128, 1000), 1500u * 256);
  EXPECT_FALSE(IsDeviceIndex("flat"));
}

}  // namespace
}  // namespace evoke
