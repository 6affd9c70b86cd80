// The canonical sum in plain C++: the definition, and the path of machines without the others.
#include <cmath>

#include "server/similarity/kernels.h"

namespace evoke::similarity_internal {
namespace {

constexpr int kLanes = 16;

inline float At(const float* row, int e) { return row[e]; }
inline float At(SplitVector row, int e) {
  const uint32_t bits = (uint32_t{row.high[e]} << 16) + static_cast<uint32_t>(int32_t{row.low[e]});
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

// std::fma and not a * b + c: only the former is fused on every target.
template <class Key>
float Sum(const float* a, Key b, int dim) {
  float acc[kLanes] = {};
  int e = 0;
  for (; e + kLanes <= dim; e += kLanes) {
    for (int l = 0; l < kLanes; ++l) acc[l] = std::fma(a[e + l], At(b, e + l), acc[l]);
  }
  if (e < dim) {
    // The missing elements are not free: fma(0, 0, -0) is +0, and a product that underflows can leave -0.
    for (int l = 0; l < kLanes; ++l) {
      const bool in = e + l < dim;
      acc[l] = std::fma(in ? a[e + l] : 0.0f, in ? At(b, e + l) : 0.0f, acc[l]);
    }
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) acc[l] += acc[l + half];
  }
  return acc[0];
}

float Similarity(const float* a, const float* b, int dim) { return Sum(a, b, dim); }

void Many(const float* query, const float* keys, size_t stride, size_t rows, int dim, float* out) {
  for (size_t i = 0; i < rows; ++i) out[i] = Similarity(query, keys + i * stride, dim);
}

void Block(const float* queries, size_t query_stride, size_t query_count, const float* keys,
           size_t key_stride, size_t key_count, int dim, float* scores, size_t ld) {
  // Query by query would read all keys once a query; a key stays in cache while the queries pass over it.
  for (size_t i = 0; i < key_count; ++i) {
    for (size_t q = 0; q < query_count; ++q) {
      scores[q * ld + i] = Similarity(queries + q * query_stride, keys + i * key_stride, dim);
    }
  }
}

void Gather(const float* query, const float* const* rows, size_t count, int dim, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = Similarity(query, rows[i], dim);
}

void GatherSplit(const float* query, const SplitVector* rows, size_t count, int dim, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = Sum(query, rows[i], dim);
}

void Join(SplitVector row, int dim, float* out) {
  for (int e = 0; e < dim; ++e) out[e] = At(row, e);
}

}  // namespace

constinit const SimilarityKernels kPortableKernels = {
    SimdPath::kPortable, Similarity, Many, Block, Gather, GatherSplit, Join,
};

}  // namespace evoke::similarity_internal
