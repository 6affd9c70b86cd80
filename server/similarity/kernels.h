// The instruction-set paths of the canonical similarity, and the table of functions that each of them fills.
//
// Included by sources that are compiled for one instruction set only. Nothing inline with external linkage
// may be emitted there: the linker could choose such a copy for the whole program, and older machines would
// fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evoke {

// A float32 vector cut into two planes of 16 bits (split_vector.h): both pointers are to its first component.
struct SplitVector {
  const uint16_t* high = nullptr;
  const int16_t* low = nullptr;
};

// In ascending order of preference. Every path gives the same bits.
enum class SimdPath { kPortable, kAvx2, kAvx512 };

// The functions of similarity.h as one path implements them; the promises stand there.
struct SimilarityKernels {
  SimdPath path;
  float (*similarity)(const float* a, const float* b, int dim);
  void (*many)(const float* query, const float* keys, size_t stride, size_t rows, int dim, float* out);
  void (*block)(const float* queries, size_t query_stride, size_t query_count, const float* keys,
                size_t key_stride, size_t key_count, int dim, float* scores, size_t ld);
  void (*gather)(const float* query, const float* const* rows, size_t count, int dim, float* out);
  void (*gather_split)(const float* query, const SplitVector* rows, size_t count, int dim, float* out);
  void (*join)(SplitVector row, int dim, float* out);
};

namespace similarity_internal {

extern const SimilarityKernels kPortableKernels;
#if defined(__x86_64__)
extern const SimilarityKernels kAvx2Kernels;    // needs AVX2 and FMA
extern const SimilarityKernels kAvx512Kernels;  // needs AVX-512F
#endif

}  // namespace similarity_internal
}  // namespace evoke
