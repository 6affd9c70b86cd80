// The kernels of the certified scan: what they score lies within the bound, and what reaches a threshold is reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "server/index/certified_scan.h"
#include "server/index/scan_paths.h"
#include "server/index/survivors.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"
#include "server/similarity/split_vector.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ScanKernelsTest : public ::testing::TestWithParam<ScanPath> {};

INSTANTIATE_TEST_SUITE_P(Paths, ScanKernelsTest, ::testing::ValuesIn(AvailableScanPaths()),
                         [](const auto& info) { return std::string(Name(info.param)); });

// Its buffers are as large as that; and long rows would leave too many survivors.
TEST_P(ScanKernelsTest, KeysAreRoundedTo8BitsOnlyForManyShortRowsThatWantFew) {
  const auto keys = [](uint32_t dim, size_t rows, size_t keys_a_wanted) {
    return ScanKernelsFor(GetParam(), dim, rows, keys_a_wanted).keys;
  };
  const bool has = GetParam() == ScanPath::kAvx512Vnni || GetParam() == ScanPath::kAvx512Bf16;
  EXPECT_EQ(keys(256, 64, 2048) == Rounding::kInt8, has);
  EXPECT_EQ(keys(512, 64, 2048) == Rounding::kInt8, GetParam() == ScanPath::kAvx512Vnni);
  EXPECT_NE(keys(kInt8MostDim + 1, 64, 1'000'000), Rounding::kInt8);
  EXPECT_NE(keys(128, 16, 2048), Rounding::kInt8);
  EXPECT_NE(keys(128, 64, 512), Rounding::kInt8);
}

TEST_P(ScanKernelsTest, EveryScoreOfEveryShapeIsWithinItsBound) {
  std::mt19937_64 random = SeededGenerator();
  for (const uint32_t dim : {1u, 2u, 3u, 15u, 16u, 17u, 31u, 32u, 33u, 64u, 127u, 128u, 256u, 300u, 512u, 1025u, 4096u}) {
    for (const uint32_t rows : {1u, 2u, 6u, 7u, 8u, 9u, 16u, 17u, 31u, 40u, 64u, 65u, 100u}) {
      const uint32_t count = 1 + static_cast<uint32_t>(random() % (dim > 300 ? 20 : 70));
      const Kind kind = kAllKinds[random() % 5];
      const size_t stride = dim + random() % 3;
      const std::vector<float> keys = RandomVector(random, kind, count * stride);
      const std::vector<float> x = RandomVector(random, random() % 2 == 0 ? kind : Kind::kUnit, size_t{rows} * dim);
      std::vector<uint16_t> high(keys.size() + 64, 0x4000);
      std::vector<int16_t> low(keys.size() + 64);
      Split(keys.data(), static_cast<int>(keys.size()), high.data(), low.data());

      const ScanKernels& kernels = ScanKernelsFor(GetParam(), dim, rows, random() % 2 == 0 ? 1 : 1'000'000);
      const size_t groups = (rows + kernels.lanes - 1) / kernels.lanes;
      const size_t bytes = kernels.group_bytes(dim);
      ASSERT_EQ(bytes % 64, 0u);
      std::unique_ptr<char, decltype(&std::free)> packed(static_cast<char*>(std::aligned_alloc(64, bytes * groups)),
                                                         &std::free);
      for (size_t g = 0; g < groups; ++g) {
        const size_t first = g * kernels.lanes;
        kernels.pack(x.data() + first * dim, std::min<size_t>(kernels.lanes, rows - first), dim,
                     packed.get() + g * bytes);
      }
      std::vector<float> thresholds(groups * kernels.lanes, kInfinity);
      std::fill(thresholds.begin(), thresholds.begin() + rows, -kInfinity);
      std::vector<ScanHit> hits(count * groups * kernels.lanes + 1, ScanHit{12345, 12345, 0});
      const ScanKeys block{high.data(), stride, count, dim};
      ASSERT_EQ(kernels.scan(block, packed.get(), groups, thresholds.data(), hits.data()), size_t{count} * rows);
      ASSERT_EQ(hits.back().key, 12345u);

      std::map<std::pair<uint32_t, uint32_t>, float> scores;
      for (size_t h = 0; h + 1 < hits.size() && h < size_t{count} * rows; ++h) {
        ASSERT_TRUE(scores.insert({{hits[h].row, hits[h].key}, hits[h].score}).second);
      }
      for (uint32_t r = 0; r < rows; ++r) {
        std::vector<uint16_t> row_high(dim);
        std::vector<int16_t> row_low(dim);
        Split(x.data() + r * dim, static_cast<int>(dim), row_high.data(), row_low.data());
        KeyRounding of_row;
        of_row.Cover({row_high.data(), row_low.data()}, dim);
        for (uint32_t k = 0; k < count; ++k) {
          KeyRounding of_key;
          of_key.Cover({&high[k * stride], &low[k * stride]}, dim);
          const double bound = RoughErrorBound(static_cast<int>(dim) + 4, of_row.norm(), of_row.lost(kernels.rows),
                                               of_key.norm(), of_key.lost(kernels.keys));
          const double exact = Similarity(x.data() + r * dim, keys.data() + k * stride, static_cast<int>(dim));
          ASSERT_TRUE(scores.contains({r, k}));
          ASSERT_LE(std::abs(double{scores[{r, k}]} - exact), bound)
              << "dim " << dim << " row " << r << " of " << rows << " key " << k << " of " << count;
        }
      }
      // With thresholds: exactly those that reach them, equal ones included.
      for (uint32_t r = 0; r < rows; ++r) thresholds[r] = scores[{r, static_cast<uint32_t>(random() % count)}];
      size_t expected = 0;
      for (const auto& [at, score] : scores) expected += score >= thresholds[at.first] ? 1 : 0;
      const size_t reached = kernels.scan(block, packed.get(), groups, thresholds.data(), hits.data());
      ASSERT_EQ(reached, expected);
      for (size_t h = 0; h < reached; ++h) {
        const float score = scores[{hits[h].row, hits[h].key}];
        ASSERT_EQ(std::memcmp(&score, &hits[h].score, sizeof(float)), 0);
        ASSERT_GE(score, thresholds[hits[h].row]);
      }
    }
  }
}

TEST(KeyRoundingTest, TellsWhatIsLostAndDoesNotForgetWhatIsNoNumber) {
  const float x[] = {3.0f, 4.0f, 1.0f + 0x1p-8f};
  uint16_t high[3];
  int16_t low[3];
  Split(x, 3, high, low);
  KeyRounding rounding;
  rounding.Cover({high, low}, 2);
  const auto barely_above = [](double bound) { return ::testing::AllOf(::testing::Ge(bound), ::testing::Le(bound * (1 + 1e-5) + 1e-20)); };
  EXPECT_THAT(rounding.norm(), barely_above(5));
  EXPECT_THAT(rounding.lost(Rounding::kBfloat16), barely_above(0));
  rounding.Cover({high + 2, low + 2}, 1);
  EXPECT_THAT(rounding.lost(Rounding::kBfloat16), barely_above(0x1p-8));
  EXPECT_GE(rounding.norm(), 5);
  const float huge = std::numeric_limits<float>::max();
  Split(&huge, 1, high, low);
  rounding.Cover({high, low}, 1);
  EXPECT_FALSE(std::isfinite(rounding.lost(Rounding::kBfloat16)));
  rounding.Cover({high + 1, low + 1}, 1);
  EXPECT_FALSE(std::isfinite(rounding.lost(Rounding::kBfloat16)));
}

TEST(SurvivorsTest, NothingWithinTheMarginOfTheBestIsDropped) {
  std::mt19937_64 random = SeededGenerator();
  for (const double margin : {0.0, 0.01, 0.5}) {
    Survivors survivors;
    survivors.Begin(10, margin, -kInfinity, 1 << 20);
    std::vector<float> all;
    for (uint32_t i = 0; i < 5000; ++i) {
      const float score = static_cast<float>(random() % 100'000) / 100'000.0f;
      all.push_back(score);
      if (score >= survivors.least()) survivors.Push({score, i});
    }
    std::sort(all.begin(), all.end(), std::greater<>());
    size_t within = 0;
    for (const float score : all) within += double{score} >= double{all[9]} - margin ? 1 : 0;
    size_t kept = 0;
    for (const auto& item : survivors.items()) kept += double{item.score} >= double{all[9]} - margin ? 1 : 0;
    EXPECT_EQ(kept, within);
    EXPECT_LT(survivors.items().size(), margin < 0.1 ? 400u : 5001u);
  }
}

TEST(SurvivorsTest, BelowIsNeverAbove) {
  std::mt19937_64 random = SeededGenerator();
  for (int i = 0; i < 10'000; ++i) {
    const float score = RandomVector(random, Kind::kNormal, 1)[0];
    const double margin = std::ldexp(static_cast<double>(random() % 1000), -static_cast<int>(random() % 40));
    EXPECT_LE(double{Below(score, margin)}, double{score} - margin);
  }
}

}  // namespace
}  // namespace evoke
