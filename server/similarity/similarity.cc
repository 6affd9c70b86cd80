#include "server/similarity/similarity.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "server/similarity/split_vector.h"

#ifdef __FAST_MATH__
#error "the canonical similarity is defined by IEEE arithmetic; do not build with -ffast-math"
#endif

namespace evoke {
namespace {

// The literals are the float32 nearest to the decimal numbers, which is how they are defined.
constexpr float kMinEmbeddingNorm = 1e-12f;
constexpr float kMaxEmbeddingNorm = 1e18f;
constexpr float kMinReinforcedNorm = 1e-6f;

bool IsAvailable(SimdPath path) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // needed where this runs before main
  switch (path) {
    case SimdPath::kPortable:
      return true;
    case SimdPath::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case SimdPath::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") &&
             __builtin_cpu_supports("fma");
  }
  return false;
#else
  return path == SimdPath::kPortable;
#endif
}

const SimilarityKernels& Choose() {
  const SimdPath best = AvailablePaths().back();
  return KernelsFor(best);
}

// Chosen on first use, so that static initialisers may call; whoever chooses, chooses the same. Relaxed
// is enough because the tables are constants.
constinit std::atomic<const SimilarityKernels*> g_active{nullptr};

const SimilarityKernels& Active() {
  const SimilarityKernels* active = g_active.load(std::memory_order_relaxed);
  if (active == nullptr) {
    active = &Choose();
    g_active.store(active, std::memory_order_relaxed);
  }
  return *active;
}

// By component, so any vectorisation gives the same bits. Not a multiplication by the reciprocal, which is
// faster and rounds differently.
void Divide(const float* x, float divisor, int dim, float* out) {
  for (int e = 0; e < dim; ++e) out[e] = x[e] / divisor;
}

bool IsFinite(const float* x, int dim) {
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t non_finite = 0;
  for (int e = 0; e < dim; ++e) {
    non_finite |= static_cast<uint32_t>((std::bit_cast<uint32_t>(x[e]) & kExponent) == kExponent);
  }
  return non_finite == 0;
}

}  // namespace

float Similarity(const float* a, const float* b, int dim) {
  return Active().similarity(a, b, dim);
}

void SimilarityMany(const float* query, const float* keys, size_t stride, size_t rows, int dim, float* out) {
  Active().many(query, keys, stride, rows, dim, out);
}

void SimilarityBlock(const float* queries, size_t query_stride, size_t query_count, const float* keys,
                     size_t key_stride, size_t key_count, int dim, float* scores, size_t ld) {
  Active().block(queries, query_stride, query_count, keys, key_stride, key_count, dim, scores, ld);
}

void SimilarityGather(const float* query, absl::Span<const float* const> rows, int dim, float* out) {
  Active().gather(query, rows.data(), rows.size(), dim, out);
}

void SimilarityGather(const float* query, absl::Span<const SplitVector> rows, int dim, float* out) {
  Active().gather_split(query, rows.data(), rows.size(), dim, out);
}

void Join(SplitVector row, int dim, float* out) {
  Active().join(row, dim, out);
}

void Split(const float* x, int dim, uint16_t* high, int16_t* low) {
  for (int e = 0; e < dim; ++e) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[e]);
    high[e] = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    low[e] = static_cast<int16_t>(static_cast<uint16_t>(bits - (uint32_t{high[e]} << 16)));
  }
}

float Norm(const float* x, int dim) {
  return std::sqrt(Similarity(x, x, dim));
}

void Normalise(const float* x, int dim, float* out) {
  Divide(x, Norm(x, dim), dim, out);
}

RowCheck NormaliseEmbedding(const float* x, int dim, float* out, float* norm) {
  if (!IsFinite(x, dim)) return RowCheck::kNonFinite;
  const float n = Norm(x, dim);  // +inf when the squares overflow
  if (!(n >= kMinEmbeddingNorm && n <= kMaxEmbeddingNorm)) return RowCheck::kBadNorm;
  Divide(x, n, dim, out);
  *norm = n;
  return RowCheck::kOk;
}

void Reinforce(float* key, const float* q, int dim) {
  for (int e = 0; e < dim; ++e) key[e] += q[e];
  const float n = Norm(key, dim);
  if (n < kMinReinforcedNorm) {
    std::memcpy(key, q, sizeof(float) * static_cast<size_t>(dim));
  } else {
    Divide(key, n, dim, key);
  }
}

std::vector<SimdPath> AvailablePaths() {
  std::vector<SimdPath> paths;
  for (SimdPath path : {SimdPath::kPortable, SimdPath::kAvx2, SimdPath::kAvx512}) {
    if (IsAvailable(path)) paths.push_back(path);
  }
  return paths;
}

SimdPath ActivePath() {
  return Active().path;
}

const char* Name(SimdPath path) {
  switch (path) {
    case SimdPath::kPortable:
      return "portable";
    case SimdPath::kAvx2:
      return "avx2";
    case SimdPath::kAvx512:
      return "avx512";
  }
  return "unknown";
}

const SimilarityKernels& KernelsFor(SimdPath path) {
#if defined(__x86_64__)
  if (path == SimdPath::kAvx512) return similarity_internal::kAvx512Kernels;
  if (path == SimdPath::kAvx2) return similarity_internal::kAvx2Kernels;
#endif
  return similarity_internal::kPortableKernels;
}

ScopedSimdPath::ScopedSimdPath(SimdPath path) : before_(ActivePath()) {
  g_active.store(&KernelsFor(path), std::memory_order_relaxed);
}

ScopedSimdPath::~ScopedSimdPath() {
  g_active.store(&KernelsFor(before_), std::memory_order_relaxed);
}

}  // namespace evoke
