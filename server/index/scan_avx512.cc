// The scan with AVX-512F: a bfloat16 is a float32 after a shift, so a pair takes two fused multiply-adds.
#include <immintrin.h>

#include "server/index/eight_rows.h"
#include "server/index/few_tiles.h"
#include "server/index/scan_tiles.h"
#include "server/similarity/reduce_avx512.h"

namespace evoke::scan_internal {
namespace {

struct Avx512 {
  static constexpr size_t kLanes = 16;
  static constexpr size_t kMaxGroups = 4;
  static constexpr uint32_t kStep = 2;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr bool kScaled = false;
  static constexpr size_t kStepBytes = 128;
  static constexpr uint32_t Keys(size_t groups) { return groups == 4 ? 5 : groups == 3 ? 6 : groups == 2 ? 10 : 16; }
  using Element = uint16_t;
  struct Scale {};
  using Vector = __m512;
  using Sums = Vector;
  struct Rows {
    __m512 even, odd;
  };
  using Key = Rows;

  static Sums Begin(const char*) { return _mm512_setzero_ps(); }
  static Vector Finish(Sums sums, const char*, Scale) { return sums; }
  static Vector Load(const float* p) { return _mm512_loadu_ps(p); }
  static Rows LoadRows(const char* p) { return {_mm512_load_ps(p), _mm512_load_ps(p + 64)}; }
  static Key LoadKey(const uint16_t* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return Words(_mm512_set1_epi32(pair));
  }
  // Of each 32-bit word: the component in its low half, and the one in its high half.
  static Key Words(__m512i both) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static Vector Add(Vector acc, const Rows& rows, const Key& key) {
    return _mm512_fmadd_ps(rows.odd, key.odd, _mm512_fmadd_ps(rows.even, key.even, acc));
  }
  static uint32_t Reach(Vector scores, Vector limit) { return _mm512_cmp_ps_mask(scores, limit, _CMP_GE_OQ); }
  static void Store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
};

using Tiles = ScanTiles<Avx512>;

void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  PackFloats<Avx512::kLanes>(rows, count, dim, group);
}

using Eight = EightRows<Avx512>;
using EightTiles = ScanTiles<Eight>;

void PackEight(const float* rows, size_t count, uint32_t dim, void* group) {
  PackFloats<Eight::kLanes, Eight::kStep>(rows, count, dim, group);
}

struct Few {
  static constexpr uint32_t kKeys = 16;
  static constexpr uint32_t kChunkDim = 32;
  static constexpr size_t kChunkBytes = 128;
  using Vector = __m512;
  using Rows = Avx512::Rows;
  using Key = Avx512::Key;

  static Vector Zero() { return _mm512_setzero_ps(); }
  static Rows LoadRows(const char* p) { return Avx512::LoadRows(p); }
  static Key LoadKey(const uint16_t* p) { return Avx512::Words(_mm512_loadu_si512(p)); }
  static Vector Add(Vector acc, const Rows& rows, const Key& key) { return Avx512::Add(acc, rows, key); }
  static Vector Sum(const Vector (&acc)[kKeys]) { return Reduce16(acc); }
  static uint32_t Reach(Vector scores, float threshold) { return Avx512::Reach(scores, _mm512_set1_ps(threshold)); }
  static void Store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
};

using FewLoops = FewTiles<Few>;

void PackFew(const float* rows, size_t count, uint32_t dim, void* group) {
  PackRowFloats<Few::kChunkDim>(rows, count, dim, static_cast<uint32_t>(FewLoops::GroupBytes(dim) / 4), group);
}

}  // namespace

constinit const ScanKernels kAvx512Eight = {
    ScanPath::kAvx512,      Eight::kLanes, Rounding::kNone, Rounding::kBfloat16,
    EightTiles::GroupBytes, PackEight,     EightTiles::Scan,
};

constinit const ScanKernels kAvx512Few = {
    ScanPath::kAvx512, 1, Rounding::kNone, Rounding::kBfloat16, FewLoops::GroupBytes, PackFew, FewLoops::Scan,
};

constinit const ScanKernels kAvx512 = {
    ScanPath::kAvx512, Avx512::kLanes, Rounding::kNone, Rounding::kBfloat16, Tiles::GroupBytes, Pack, Tiles::Scan,
};

}  // namespace evoke::scan_internal
