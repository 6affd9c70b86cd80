// Do tensor cores keep the bound that the certificate rests on (TensorCoreErrorBound)? Nobody documents how they
// round; this asks the ones that are there.
#include "tests/gpu/fused_device_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "server/index/gpu/row_rounding.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/similarity.h"
#include "server/similarity/split_vector.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

using gpu::Block;
using gpu::FusedDevice;

constexpr uint32_t kRows = gpu::Scan16::kRows;
constexpr uint32_t kKeys = gpu::Scan16::kGroupsATile;
using Vectors = std::vector<std::vector<float>>;

class FusedDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = MakeFusedDevice();
    ASSERT_TRUE(device.ok()) << device.status();
    if (*device == nullptr) GTEST_SKIP() << "no GPU";
    device_ = *std::move(device);
  }

  // The rough scores [kRows, kKeys]: each key is the only number in a group of a sample, and so its maximum.
  std::vector<float> Scores(const Vectors& rows, const Vectors& keys) {
    const auto dim = static_cast<uint32_t>(rows[0].size());
    const uint32_t stride = (dim + gpu::kAccumulators - 1) / gpu::kAccumulators * gpu::kAccumulators;
    std::vector<uint16_t> lines((gpu::kTileKeys + kRows) * size_t{stride}, gpu::kDeadHigh);
    std::vector<int16_t> low(dim);
    const auto put = [&](const std::vector<float>& x, uint32_t line) {
      std::fill_n(lines.begin() + line * stride, stride, uint16_t{0});
      Split(x.data(), static_cast<int>(dim), &lines[size_t{line} * stride], low.data());
    };
    // The first keys of the four groups of each warp.
    for (uint32_t g = 0; g < kKeys; ++g) put(keys[g], g / 4 * gpu::Scan16::kWarpKeys + g % 4 * 2);
    for (uint32_t r = 0; r < kRows; ++r) put(rows[r], gpu::kTileKeys + r);

    const size_t line_bytes = lines.size() * sizeof(uint16_t);
    const size_t score_bytes = kRows * kKeys * sizeof(float);
    Block pinned(device_.get(), FusedDevice::Where::kPinned);
    Block on_device(device_.get(), FusedDevice::Where::kDevice);
    Block maxima(device_.get(), FusedDevice::Where::kDevice);
    std::vector<float> scores(kRows * kKeys);
    EXPECT_TRUE(pinned.Reserve(std::max(line_bytes, score_bytes)).ok() && on_device.Reserve(line_bytes).ok() &&
                maxima.Reserve(score_bytes).ok());
    std::copy(lines.begin(), lines.end(), pinned.as<uint16_t>());
    gpu::ScanArgs args;
    args.keys = on_device.as<uint16_t>();
    args.rows = args.keys + size_t{gpu::kTileKeys} * stride;
    args.stride = stride;
    args.tiles = 1;
    args.row_count = kRows;
    args.groups = kKeys;
    args.maxima = maxima.as<float>();
    EXPECT_TRUE(device_->ToDevice(on_device.as<char>(), pinned.as<char>(), line_bytes).ok());
    EXPECT_TRUE(device_->Scan(gpu::ScanShape::k16, args).ok());
    EXPECT_TRUE(device_->ToHost(pinned.as<char>(), maxima.as<char>(), score_bytes).ok());
    EXPECT_TRUE(device_->Synchronize().ok());
    std::copy_n(pinned.as<float>(), scores.size(), scores.begin());
    return scores;
  }

  void ExpectWithinBound(const Vectors& rows, const Vectors& keys) {
    const auto dim = static_cast<uint32_t>(rows[0].size());
    const std::vector<float> scores = Scores(rows, keys);
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t k = 0; k < kKeys; ++k) {
        const gpu::RowRounding row = RoundingOf(rows[r]);
        const gpu::RowRounding key = RoundingOf(keys[k]);
        const double bound = TensorCoreErrorBound(static_cast<int>(dim), row.norm, row.lost, key.norm, key.lost);
        const double similarity = Similarity(rows[r].data(), keys[k].data(), static_cast<int>(dim));
        ASSERT_LE(std::abs(scores[r * kKeys + k] - similarity), bound) << "dim " << dim << ", row " << r << ", key " << k;
        ASSERT_LE(bound, 0.02 * row.norm * key.norm + 1e-30);  // or it would say nothing
      }
    }
  }

  static gpu::RowRounding RoundingOf(const std::vector<float>& x) {
    std::vector<uint16_t> high(x.size());
    std::vector<int16_t> low(x.size());
    Split(x.data(), static_cast<int>(x.size()), high.data(), low.data());
    return gpu::RoundingOf(x.data(), high.data(), static_cast<uint32_t>(x.size()));
  }
  Vectors Random(size_t count, Kind kind, uint32_t dim) {
    Vectors vectors;
    for (size_t i = 0; i < count; ++i) vectors.push_back(RandomVector(random_, kind, dim));
    return vectors;
  }

  std::mt19937_64 random_ = SeededGenerator();
  std::unique_ptr<FusedDevice> device_;
};

TEST_F(FusedDeviceTest, RoughScoresLieWithinTheBound) {
  for (const Kind kind : {Kind::kUnit, Kind::kNormal, Kind::kVanishing, Kind::kHuge}) {
    for (const uint32_t dim : {1u, 16u, 77u, 500u}) {
      ASSERT_NO_FATAL_FAILURE(ExpectWithinBound(Random(kRows, kind, dim), Random(kKeys, kind, dim)));
    }
  }
}

// Vectors that bfloat16 holds exactly, so that the bound is that of the sums alone; one product towers above the others, which
// lose most when they are aligned to it, and another one takes it away again.
TEST_F(FusedDeviceTest, SumsThatCancelLieWithinTheBound) {
  const auto rounded = [](float x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xffff0000u); };
  for (const uint32_t dim : {16u, 64u, 256u, 1024u}) {
    for (const int tower : {4, 8, 12, 20}) {
      Vectors rows = Random(kRows, Kind::kNormal, dim);
      Vectors keys = Random(kKeys, Kind::kNormal, dim);
      for (Vectors* vectors : {&rows, &keys}) {
        for (std::vector<float>& x : *vectors) {
          for (float& e : x) e = rounded(std::abs(e));  // all errors in one direction
        }
      }
      for (std::vector<float>& row : rows) row[0] = row[dim - 1] = std::ldexp(1.0f, tower);
      for (std::vector<float>& key : keys) {
        key[0] = 1.0f;
        key[dim - 1] = -1.0f;
      }
      ASSERT_NO_FATAL_FAILURE(ExpectWithinBound(rows, keys)) << "tower " << tower;
    }
  }
}

}  // namespace
}  // namespace evoke
