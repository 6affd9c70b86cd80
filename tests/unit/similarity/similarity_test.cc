// The canonical sum: every path and every batch shape against its definition, to the bit.
#include "server/similarity/similarity.h"


#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "server/similarity/split_vector.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

// semantics.md, section 2, word by word; independent of the code under test.
float Definition(const float* a, const float* b, int dim) {
  float acc[16] = {};
  const int padded = (dim + 15) / 16 * 16;
  for (int e = 0; e < padded; ++e) {
    const float x = e < dim ? a[e] : 0.0f;
    const float y = e < dim ? b[e] : 0.0f;
    acc[e % 16] = std::fmaf(x, y, acc[e % 16]);
  }
  for (int l = 0; l < 8; ++l) acc[l] = acc[l] + acc[l + 8];
  for (int l = 0; l < 4; ++l) acc[l] = acc[l] + acc[l + 4];
  for (int l = 0; l < 2; ++l) acc[l] = acc[l] + acc[l + 2];
  return acc[0] + acc[1];
}

uint32_t Bits(float x) {
  return std::bit_cast<uint32_t>(x);
}

std::vector<int> Dims(std::mt19937_64& random) {
  std::vector<int> dims;
  for (int d = 1; d <= 67; ++d) dims.push_back(d);
  for (int d :
       {96, 100, 127, 128, 129, 255, 256, 300, 511, 512, 513, 768, 1000, 1024, 2047, 2048, 4095, 4096}) {
    dims.push_back(d);
  }
  for (int i = 0; i < 20; ++i) dims.push_back(1 + static_cast<int>(random() % 4096));
  return dims;
}

class SimilarityPathTest : public testing::TestWithParam<SimdPath> {
 protected:
  const SimilarityKernels& kernels() const { return KernelsFor(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Paths, SimilarityPathTest, testing::ValuesIn(AvailablePaths()),
                         [](const auto& info) { return Name(info.param); });

TEST_P(SimilarityPathTest, EqualsTheDefinitionForEveryDimensionKindAndAlignment) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : Dims(random)) {
    for (const Kind kind : kAllKinds) {
      const size_t shift_a = random() % 16;
      const size_t shift_b = random() % 16;
      const std::vector<float> a = RandomVector(random, kind, shift_a + dim);
      const std::vector<float> b = RandomVector(random, kAllKinds[random() % 5], shift_b + dim);
      ASSERT_EQ(Bits(kernels().similarity(&a[shift_a], &b[shift_b], dim)),
                Bits(Definition(&a[shift_a], &b[shift_b], dim)))
          << "dim " << dim << " kind " << static_cast<int>(kind);
    }
  }
}

TEST_P(SimilarityPathTest, BlockManyAndGatherEqualOneByOneForAllShapes) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {1, 5, 8, 9, 16, 20, 64, 128, 130, 513, 1025, 4096}) {
    for (int repeat = 0; repeat < 6; ++repeat) {
      const size_t queries = 1 + random() % 11;
      const size_t keys = random() % 70;
      const size_t query_stride = dim + random() % 5;
      const size_t key_stride = dim + random() % 5;
      const size_t ld = keys + random() % 3;
      const Kind kind = kAllKinds[random() % 5];
      const std::vector<float> q = RandomVector(random, kind, queries * query_stride);
      const std::vector<float> k = RandomVector(random, Kind::kNormal, keys * key_stride + 1);
      constexpr float kUntouched = 12345.0f;

      std::vector<float> scores(queries * ld + 1, kUntouched);
      kernels().block(q.data(), query_stride, queries, k.data(), key_stride, keys, dim, scores.data(), ld);
      std::vector<float> many(keys + 1, kUntouched);
      kernels().many(q.data(), k.data(), key_stride, keys, dim, many.data());
      std::vector<const float*> rows;
      for (size_t i = 0; i < keys; ++i) rows.push_back(&k[(keys - 1 - i) * key_stride]);
      std::vector<float> gathered(keys + 1, kUntouched);
      kernels().gather(q.data(), rows.data(), keys, dim, gathered.data());
      std::vector<uint16_t> high(k.size());
      std::vector<int16_t> low(k.size());
      Split(k.data(), static_cast<int>(k.size()), high.data(), low.data());
      std::vector<SplitVector> planes;
      for (size_t i = 0; i < keys; ++i) planes.push_back({&high[i * key_stride], &low[i * key_stride]});
      std::vector<float> split(keys + 1, kUntouched);
      kernels().gather_split(q.data(), planes.data(), keys, dim, split.data());

      for (size_t i = 0; i < keys; ++i) {
        for (size_t j = 0; j < queries; ++j) {
          ASSERT_EQ(Bits(scores[j * ld + i]), Bits(Definition(&q[j * query_stride], &k[i * key_stride], dim)))
              << "dim " << dim << " query " << j << " of " << queries << " key " << i << " of " << keys;
        }
        ASSERT_EQ(Bits(many[i]), Bits(scores[i]));
        ASSERT_EQ(Bits(gathered[keys - 1 - i]), Bits(scores[i]));
        ASSERT_EQ(Bits(split[i]), Bits(scores[i]));
      }
      // Nothing beyond the shape is written: the gap of ld, and one past the end.
      for (size_t j = 0; j < queries; ++j) {
        for (size_t i = keys; i < ld; ++i) ASSERT_EQ(scores[j * ld + i], kUntouched);
      }
      ASSERT_EQ(scores.back(), kUntouched);
      ASSERT_EQ(many.back(), kUntouched);
      ASSERT_EQ(gathered.back(), kUntouched);
      ASSERT_EQ(split.back(), kUntouched);
    }
  }
}

TEST_P(SimilarityPathTest, TwoPlanesJoinToTheSameBitsWhateverTheyAre) {
  std::mt19937_64 random = SeededGenerator();
  for (const int dim : {1, 7, 8, 9, 15, 16, 17, 31, 1000}) {
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<float> x(dim);
      for (float& component : x) component = std::bit_cast<float>(static_cast<uint32_t>(random()));
      x[random() % dim] = std::bit_cast<float>(0xffffffffu - static_cast<uint32_t>(random() % 0x10000));
      std::vector<uint16_t> high(dim);
      std::vector<int16_t> low(dim);
      Split(x.data(), dim, high.data(), low.data());
      std::vector<float> joined(dim + 1, 7.0f);
      kernels().join({high.data(), low.data()}, dim, joined.data());
      for (int e = 0; e < dim; ++e) ASSERT_EQ(Bits(joined[e]), Bits(x[e])) << "dim " << dim << " element " << e;
      ASSERT_EQ(joined[dim], 7.0f);
    }
  }
}

TEST(SplitVectorTest, TheHighPlaneIsTheNearestBfloat16) {
  const float x[] = {1.0f, 1.0f + 0x1p-9f, 1.0f + 0x1p-8f, 1.0f + 0x1.8p-8f, -1.0f - 0x1.8p-8f, 0x1p-140f};
  uint16_t high[6];
  int16_t low[6];
  Split(x, 6, high, low);
  EXPECT_THAT(high, testing::ElementsAre(0x3f80, 0x3f80, 0x3f81, 0x3f81, 0xbf81, 0));
  EXPECT_THAT(low, testing::ElementsAre(0, 0x4000, -0x8000, -0x4000, -0x4000, 0x200));
}

TEST_P(SimilarityPathTest, AMissingTailTurnsTheMinusZeroOfAnUnderflowIntoPlusZero) {
  // The product -2^-200 rounds to -0 in accumulator 0. With a tail a +0 follows, without one -0 stays, and
  // the other 15 accumulators make it +0 again unless they too are -0.
  const std::vector<float> tiny(32, 0x1p-100f);
  const std::vector<float> minus(32, -0x1p-100f);
  EXPECT_EQ(Bits(kernels().similarity(tiny.data(), minus.data(), 16)), Bits(-0.0f));
  EXPECT_EQ(Bits(kernels().similarity(tiny.data(), minus.data(), 32)), Bits(-0.0f));
  EXPECT_EQ(Bits(kernels().similarity(tiny.data(), minus.data(), 15)), Bits(0.0f));
  EXPECT_EQ(Bits(kernels().similarity(tiny.data(), minus.data(), 17)), Bits(0.0f));
}

TEST_P(SimilarityPathTest, KeepsSubnormals) {
  const float a[] = {0x1p-140f, 0x1p-70f, 0.0f};
  const float b[] = {1.0f, 0x1p-75f, 1.0f};
  EXPECT_EQ(kernels().similarity(a, b, 3), 0x1p-140f + 0x1p-145f);
}

TEST_P(SimilarityPathTest, RoundsOncePerElement) {
  // (1 + 2^-23)(1 - 2^-23) - 1 is -2^-46 when fused and 0 when the product is rounded first.
  std::vector<float> a(32, 0.0f);
  std::vector<float> b(32, 0.0f);
  a[3] = -1.0f;
  b[3] = 1.0f;
  a[19] = 1.0f + 0x1p-23f;
  b[19] = 1.0f - 0x1p-23f;
  EXPECT_EQ(kernels().similarity(a.data(), b.data(), 32), -0x1p-46f);
}

// A row that ends where the readable memory ends.
TEST_P(SimilarityPathTest, ReadsNothingBeyondARow) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t readable = 8 * page;
  char* memory = static_cast<char*>(
      mmap(nullptr, readable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(mprotect(memory + readable, page, PROT_NONE), 0);
  const float* end = reinterpret_cast<const float*>(memory + readable);
  float out[10 * 3];
  for (int dim = 1; dim <= 50; ++dim) {
    const float* rows[10];
    for (int i = 0; i < 10; ++i) rows[i] = end - dim;
    EXPECT_EQ(kernels().similarity(end - dim, end - dim, dim), 0.0f);
    for (size_t count = 1; count <= 10; ++count) {
      const float* block = end - count * dim;
      kernels().many(end - dim, block, dim, count, dim, out);
      kernels().gather(end - dim, rows, count, dim, out);
      kernels().block(block, dim, std::min<size_t>(count, 3), block, dim, count, dim, out, count);
    }
  }
  munmap(memory, readable + page);
}

TEST(SimilarityDispatchTest, TakesTheLastAvailablePathUnlessATestSetsAnother) {
  const std::vector<SimdPath> paths = AvailablePaths();
  ASSERT_EQ(paths.front(), SimdPath::kPortable);
  EXPECT_EQ(ActivePath(), paths.back());
  {
    ScopedSimdPath portable(SimdPath::kPortable);
    EXPECT_EQ(ActivePath(), SimdPath::kPortable);
  }
  EXPECT_EQ(ActivePath(), paths.back());
  for (const SimdPath path : paths) EXPECT_EQ(KernelsFor(path).path, path);
}

TEST(SimilarityDispatchTest, ThePublicFunctionsAreTheActivePathsFunctions) {
  std::mt19937_64 random = SeededGenerator();
  const std::vector<float> x = RandomVector(random, Kind::kNormal, 4 * 20);
  const float* rows[] = {&x[20], &x[0]};
  for (const SimdPath path : AvailablePaths()) {
    ScopedSimdPath scoped(path);
    float many[4], block[8], gather[2];
    SimilarityMany(&x[0], &x[0], 20, 4, 20, many);
    SimilarityBlock(&x[0], 20, 2, &x[0], 20, 4, 20, block, 4);
    SimilarityGather(&x[20], rows, 20, gather);
    EXPECT_EQ(Bits(Similarity(&x[0], &x[20], 20)), Bits(Definition(&x[0], &x[20], 20)));
    EXPECT_EQ(Bits(many[1]), Bits(Definition(&x[0], &x[20], 20)));
    EXPECT_EQ(Bits(block[4 + 3]), Bits(Definition(&x[20], &x[60], 20)));
    EXPECT_EQ(Bits(gather[1]), Bits(Definition(&x[20], &x[0], 20)));
  }
}

TEST(RankTest, OrdersBySimilarityDescendingThenSlotAscendingAndZerosAreEqual) {
  EXPECT_TRUE(Before({0.5f, 9}, {0.25f, 1}));
  EXPECT_FALSE(Before({0.25f, 1}, {0.5f, 9}));
  EXPECT_TRUE(Before({0.5f, 1}, {0.5f, 2}));
  EXPECT_FALSE(Before({0.5f, 2}, {0.5f, 1}));
  EXPECT_FALSE(Before({0.5f, 2}, {0.5f, 2}));
  EXPECT_TRUE(Before({-0.0f, 1}, {0.0f, 2}));
  EXPECT_FALSE(Before({0.0f, 2}, {-0.0f, 1}));
  EXPECT_TRUE(Before({-0.25f, 9}, {-0.5f, 1}));
  EXPECT_TRUE(Before({0.0f, 9}, {-std::numeric_limits<float>::denorm_min(), 1}));
}

}  // namespace
}  // namespace evoke
