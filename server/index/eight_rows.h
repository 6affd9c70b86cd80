// Up to eight rows with AVX-512: two lanes a row, so that a load serves four key components, and no lane idles.
//
// `Isa` is one of scan_tiles.h with 16 lanes of 32 bits and steps of two components, and Words(both) -> Key.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace evoke::scan_internal {
namespace {  // internal linkage: see scan_kernels.h

template <class Isa>
struct EightRows : Isa {
  static constexpr size_t kLanes = 8;
  static constexpr size_t kMaxGroups = 1;
  static constexpr uint32_t kStep = 4;
  static constexpr uint32_t Keys(size_t) { return 16; }
  using Vector = __m256;

  static typename Isa::Key LoadKey(const uint16_t* p) {
    long long four;
    __builtin_memcpy(&four, p, sizeof(four));
    return Isa::Words(_mm512_set1_epi64(four));
  }
  static Vector Finish(__m512 sums, const char*, typename Isa::Scale) {
    const __m512i words = _mm512_castps_si512(sums);
    const __m512 both = _mm512_add_ps(sums, _mm512_castsi512_ps(_mm512_srli_epi64(words, 32)));
    return _mm256_castsi256_ps(_mm512_cvtepi64_epi32(_mm512_castps_si512(both)));
  }
  static Vector Load(const float* p) { return _mm256_loadu_ps(p); }
  static uint32_t Reach(Vector scores, Vector limit) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(scores, limit, _CMP_GE_OQ)));
  }
  static void Store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
};

}  // namespace
}  // namespace evoke::scan_internal
