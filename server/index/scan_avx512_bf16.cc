// The scan with AVX-512 BF16: one instruction multiplies a pair of components of 16 rows and adds both products.
#include <immintrin.h>

#include "server/index/eight_rows.h"
#include "server/index/few_tiles.h"
#include "server/index/scan_tiles.h"
#include "server/similarity/reduce_avx512.h"

namespace evoke::scan_internal {
namespace {

struct Avx512Bf16 {
  static constexpr size_t kLanes = 16;
  static constexpr size_t kMaxGroups = 4;
  static constexpr uint32_t kStep = 2;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr bool kScaled = false;
  static constexpr size_t kStepBytes = 64;
  // 24 of 32 registers: the latency of the instruction wants about a dozen chains at least.
  static constexpr uint32_t Keys(size_t groups) { return groups == 4 ? 6 : groups == 3 ? 8 : groups == 2 ? 12 : 16; }
  using Element = uint16_t;
  struct Scale {};
  using Vector = __m512;
  using Sums = Vector;
  using Rows = __m512bh;
  using Key = __m512bh;

  static Sums Begin(const char*) { return _mm512_setzero_ps(); }
  static Vector Finish(Sums sums, const char*, Scale) { return sums; }
  static Vector Load(const float* p) { return _mm512_loadu_ps(p); }
  static Rows LoadRows(const char* p) { return reinterpret_cast<__m512bh>(_mm512_load_si512(p)); }
  static Key LoadKey(const uint16_t* p) {
    int pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return Words(_mm512_set1_epi32(pair));
  }
  static Key Words(__m512i both) { return reinterpret_cast<__m512bh>(both); }
  static Vector Add(Vector acc, Rows rows, Key key) { return _mm512_dpbf16_ps(acc, rows, key); }
  static uint32_t Reach(Vector scores, Vector limit) { return _mm512_cmp_ps_mask(scores, limit, _CMP_GE_OQ); }
  static void Store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
};

using Tiles = ScanTiles<Avx512Bf16>;

void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  PackHalves<Avx512Bf16::kLanes>(rows, count, dim, (dim + 1) / 2, group);
}

using Eight = EightRows<Avx512Bf16>;
using EightTiles = ScanTiles<Eight>;

void PackEight(const float* rows, size_t count, uint32_t dim, void* group) {
  PackHalves<Eight::kLanes, Eight::kStep>(rows, count, dim, EightTiles::Steps(dim), group);
}

struct Few {
  static constexpr uint32_t kKeys = 16;
  static constexpr uint32_t kChunkDim = 32;
  static constexpr size_t kChunkBytes = 64;
  using Vector = __m512;
  using Rows = __m512bh;
  using Key = __m512bh;

  static Vector Zero() { return _mm512_setzero_ps(); }
  static Rows LoadRows(const char* p) { return reinterpret_cast<__m512bh>(_mm512_load_si512(p)); }
  static Key LoadKey(const uint16_t* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p)); }
  static Vector Add(Vector acc, Rows rows, Key key) { return _mm512_dpbf16_ps(acc, rows, key); }
  static Vector Sum(const Vector (&acc)[kKeys]) { return Reduce16(acc); }
  static uint32_t Reach(Vector scores, float threshold) {
    return _mm512_cmp_ps_mask(scores, _mm512_set1_ps(threshold), _CMP_GE_OQ);
  }
  static void Store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
};

using FewLoops = FewTiles<Few>;

void PackFew(const float* rows, size_t count, uint32_t dim, void* group) {
  PackRowHalves(rows, count, dim, static_cast<uint32_t>(FewLoops::GroupBytes(dim) / 2), group);
}

}  // namespace

constinit const ScanKernels kAvx512Bf16Few = {
    ScanPath::kAvx512Bf16, 1, Rounding::kBfloat16, Rounding::kBfloat16, FewLoops::GroupBytes, PackFew, FewLoops::Scan,
};

constinit const ScanKernels kAvx512Bf16Eight = {
    ScanPath::kAvx512Bf16,  Eight::kLanes, Rounding::kBfloat16, Rounding::kBfloat16,
    EightTiles::GroupBytes, PackEight,     EightTiles::Scan,
};

constinit const ScanKernels kAvx512Bf16 = {
    ScanPath::kAvx512Bf16, Avx512Bf16::kLanes, Rounding::kBfloat16, Rounding::kBfloat16,
    Tiles::GroupBytes,     Pack,               Tiles::Scan,
};

}  // namespace evoke::scan_internal
