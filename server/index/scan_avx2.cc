// The scan with AVX2 and FMA: a bfloat16 is a float32 after a shift, so a pair takes two fused multiply-adds.
#include <immintrin.h>

#include "server/index/few_tiles.h"
#include "server/index/scan_tiles.h"
#include "server/similarity/reduce_avx2.h"

namespace evoke::scan_internal {
namespace {

struct Avx2 {
  static constexpr size_t kLanes = 8;
  static constexpr size_t kMaxGroups = 2;
  static constexpr uint32_t kStep = 2;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr bool kScaled = false;
  static constexpr size_t kStepBytes = 64;
  static constexpr uint32_t Keys(size_t groups) { return groups == 2 ? 4 : 8; }
  using Element = uint16_t;
  struct Scale {};
  using Vector = __m256;
  using Sums = Vector;
  struct Rows {
    __m256 even, odd;
  };
  using Key = Rows;

  static Sums Begin(const char*) { return _mm256_setzero_ps(); }
  static Vector Finish(Sums sums, const char*, Scale) { return sums; }
  static Vector Load(const float* p) { return _mm256_loadu_ps(p); }
  static Rows LoadRows(const char* p) {
    const float* floats = reinterpret_cast<const float*>(p);
    return {_mm256_load_ps(floats), _mm256_load_ps(floats + kLanes)};
  }
  static Key LoadKey(const uint16_t* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return Halves(_mm256_set1_epi32(pair));
  }
  // Of each 32-bit word: the component in its low half, and the one in its high half.
  static Key Halves(__m256i both) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(both, 16)),
            _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static Vector Add(Vector acc, const Rows& rows, const Key& key) {
    return _mm256_fmadd_ps(rows.odd, key.odd, _mm256_fmadd_ps(rows.even, key.even, acc));
  }
  static uint32_t Reach(Vector scores, Vector limit) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(scores, limit, _CMP_GE_OQ)));
  }
  static void Store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
};

using Tiles = ScanTiles<Avx2>;

void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  PackFloats<Avx2::kLanes>(rows, count, dim, group);
}

struct Few {
  static constexpr uint32_t kKeys = 8;
  static constexpr uint32_t kChunkDim = 16;
  static constexpr size_t kChunkBytes = 64;
  using Vector = __m256;
  using Rows = Avx2::Rows;
  using Key = Avx2::Key;

  static Vector Zero() { return _mm256_setzero_ps(); }
  static Rows LoadRows(const char* p) { return Avx2::LoadRows(p); }
  static Key LoadKey(const uint16_t* p) {
    return Avx2::Halves(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Vector Add(Vector acc, const Rows& rows, const Key& key) { return Avx2::Add(acc, rows, key); }
  static Vector Sum(const Vector (&acc)[kKeys]) { return Reduce8(acc); }
  static uint32_t Reach(Vector scores, float threshold) { return Avx2::Reach(scores, _mm256_set1_ps(threshold)); }
  static void Store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
};

using FewLoops = FewTiles<Few>;

void PackFew(const float* rows, size_t count, uint32_t dim, void* group) {
  PackRowFloats<Few::kChunkDim>(rows, count, dim, static_cast<uint32_t>(FewLoops::GroupBytes(dim) / 4), group);
}

}  // namespace

constinit const ScanKernels kAvx2Few = {
    ScanPath::kAvx2, 1, Rounding::kNone, Rounding::kBfloat16, FewLoops::GroupBytes, PackFew, FewLoops::Scan,
};

constinit const ScanKernels kAvx2 = {
    ScanPath::kAvx2, Avx2::kLanes, Rounding::kNone, Rounding::kBfloat16, Tiles::GroupBytes, Pack, Tiles::Scan,
};

}  // namespace evoke::scan_internal
