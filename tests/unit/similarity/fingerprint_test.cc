// The fingerprint: the constant of the tree, on every path, and what makes it differ. And the age noise.
#include "server/similarity/fingerprint.h"

#include <gtest/gtest.h>

#include <vector>

#include "server/similarity/age_noise.h"
#include "server/similarity/similarity.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace evoke {
namespace {

TEST(FingerprintTest, IsTheConstantOfTheTree) {
  EXPECT_EQ(ArithmeticFingerprint(), kArithmeticFingerprint) << std::hex << ArithmeticFingerprint();
}

TEST(FingerprintTest, IsTheSameWhicheverPathIsActiveOrAlone) {
  for (const SimdPath path : AvailablePaths()) {
    const ScopedSimdPath scoped(path);
    EXPECT_EQ(ArithmeticFingerprint(), kArithmeticFingerprint) << Name(path);
    const SimilarityKernels* alone[] = {&KernelsFor(path)};
    EXPECT_EQ(FingerprintOf(alone), kArithmeticFingerprint) << Name(path);
  }
}

// Paths that are wrong in one way each; a pointer to function can carry no state.
float UnfusedSimilarity(const float* a, const float* b, int dim) {
  float sum = 0;
  for (int e = 0; e < dim; ++e) sum += a[e] * b[e];
  return sum;
}
void ManyWithAWrongLastRow(const float* query, const float* keys, size_t stride, size_t rows, int dim,
                           float* out) {
  KernelsFor(SimdPath::kPortable).many(query, keys, stride, rows, dim, out);
  out[rows - 1] += 1.0f;
}
void GatherThatSwapsTwoRows(const float* query, const float* const* rows, size_t count, int dim, float* out) {
  KernelsFor(SimdPath::kPortable).gather(query, rows, count, dim, out);
  std::swap(out[0], out[1]);
}
void BlockThatSkipsTheLastQuery(const float* queries, size_t query_stride, size_t query_count,
                                const float* keys, size_t key_stride, size_t key_count, int dim,
                                float* scores, size_t ld) {
  KernelsFor(SimdPath::kPortable)
      .block(queries, query_stride, query_count - 1, keys, key_stride, key_count, dim, scores, ld);
}

TEST(FingerprintTest, DiffersWhenAPathIsWrongInAnyOfItsFunctions) {
  const SimilarityKernels& good = KernelsFor(SimdPath::kPortable);
  std::vector<SimilarityKernels> wrong(4, good);
  wrong[0].similarity = UnfusedSimilarity;
  wrong[1].many = ManyWithAWrongLastRow;
  wrong[2].gather = GatherThatSwapsTwoRows;
  wrong[3].block = BlockThatSkipsTheLastQuery;
  for (const SimilarityKernels& bad : wrong) {
    const SimilarityKernels* second[] = {&good, &bad};
    EXPECT_NE(FingerprintOf(second), kArithmeticFingerprint);
    const SimilarityKernels* first[] = {&bad};
    EXPECT_NE(FingerprintOf(first), kArithmeticFingerprint);
  }
}

#if defined(__SSE__)
TEST(FingerprintTest, DiffersWhenSubnormalsAreFlushedOrRoundingIsNotToNearest) {
  const unsigned before = _mm_getcsr();
  for (const unsigned bits : {0x8000u /* flush to zero */, 0x40u /* denormals are zero */,
                              0x2000u /* round down */, 0x6000u /* round to zero */}) {
    _mm_setcsr(before | bits);
    const uint64_t fingerprint = ArithmeticFingerprint();
    _mm_setcsr(before);
    EXPECT_NE(fingerprint, kArithmeticFingerprint) << std::hex << bits;
  }
  EXPECT_EQ(ArithmeticFingerprint(), kArithmeticFingerprint);
}
#endif

TEST(NoiseDrawTest, IsTheCheckValueOfTheSemantics) {
  EXPECT_EQ(NoiseDraw(42, 5, 3), 376191944u);
}

TEST(NoiseDrawTest, DependsOnSeedStepAndSlot) {
  EXPECT_NE(NoiseDraw(43, 5, 3), NoiseDraw(42, 5, 3));
  EXPECT_NE(NoiseDraw(42, 6, 3), NoiseDraw(42, 5, 3));
  EXPECT_NE(NoiseDraw(42, 5, 4), NoiseDraw(42, 5, 3));
  EXPECT_NE(NoiseDraw(42, 3, 5), NoiseDraw(42, 5, 3));
}

}  // namespace
}  // namespace evoke
