// How alike two vectors are, to the bit: the one float32 arithmetic that decides what a memory answers.
//
// The canonical similarity is an inner product summed in a fixed order (semantics.md, section 2): 16
// accumulators, element e goes to accumulator e mod 16 by fused multiply-add, then a fixed tree. The
// functions choose the widest instruction set of the machine at run time; all of them, and all batch shapes,
// give the same bits. All functions are thread-safe and pure. Subnormals count: never run them with
// flush-to-zero set.
//
// A vector is `dim` contiguous float32, 1 <= dim <= 4096, of any alignment; strides count floats. Outputs
// must not overlap inputs unless a function says so. Similarities of finite vectors that overflow are
// infinite or NaN; the rows of a memory are unit vectors and never do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/similarity/kernels.h"
#include "server/similarity/rank.h"

namespace evoke {

// The canonical similarity of a[dim] and b[dim]; bigger is closer.
float Similarity(const float* a, const float* b, int dim);

// out[i] = Similarity(query, keys + i * stride) for i in [0, rows). Limited by memory bandwidth.
void SimilarityMany(const float* query, const float* keys, size_t stride, size_t rows, int dim, float* out);

// scores[q * ld + i] = Similarity(queries + q * query_stride, keys + i * key_stride) for q in [0,
// query_count) and i in [0, key_count). Limited by arithmetic from about 8 queries on; let the scores of one
// call stay in cache (a few thousand) and cut the keys accordingly.
void SimilarityBlock(const float* queries, size_t query_stride, size_t query_count, const float* keys,
                     size_t key_stride, size_t key_count, int dim, float* scores, size_t ld);

// out[i] = Similarity(query, rows[i]): rows lie anywhere, later ones are prefetched.
void SimilarityGather(const float* query, absl::Span<const float* const> rows, int dim, float* out);

// The same for rows in two planes.
void SimilarityGather(const float* query, absl::Span<const SplitVector> rows, int dim, float* out);

// sqrt(Similarity(x, x)).
float Norm(const float* x, int dim);

// out[dim] = x / Norm(x), by component. `out` may be `x`. Requires: Norm(x) is finite and not 0.
void Normalise(const float* x, int dim, float* out);

// What is wrong with an embedding that a client sent.
enum class RowCheck {
  kOk,
  kNonFinite,  // a component is NaN or infinite
  kBadNorm,    // the norm is outside [1e-12, 1e18], compared in float32
};

// Validates and normalises one embedding: out[dim] and *norm (of x, float32) are set only when it returns
// kOk. `out` may be `x`.
RowCheck NormaliseEmbedding(const float* x, int dim, float* out, float* norm);

// A hit: key <- normalise(key + q), or q itself if norm(key + q) < 1e-6. Not idempotent.
void Reinforce(float* key, const float* q, int dim);

// The paths that this machine can run, kPortable first, the preferred one last.
std::vector<SimdPath> AvailablePaths();

// The path that the functions above take: the preferred one, unless a test has set another.
SimdPath ActivePath();

// "portable", "avx2" or "avx512".
const char* Name(SimdPath path);

// The functions of one path, for tests and benchmarks. Requires: the path is available.
const SimilarityKernels& KernelsFor(SimdPath path);

// Tests only. Makes every thread take `path` while it lives; one at a time.
class ScopedSimdPath {
 public:
  explicit ScopedSimdPath(SimdPath path);
  ~ScopedSimdPath();
  ScopedSimdPath(const ScopedSimdPath&) = delete;
  ScopedSimdPath& operator=(const ScopedSimdPath&) = delete;

 private:
  const SimdPath before_;
};

}  // namespace evoke
