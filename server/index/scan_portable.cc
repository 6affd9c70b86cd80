// The scan in plain C++: what machines without the other paths run.
#include "server/index/scan_tiles.h"

namespace evoke::scan_internal {
namespace {

struct Portable {
  static constexpr size_t kLanes = 8;
  static constexpr size_t kMaxGroups = 1;
  static constexpr uint32_t kStep = 2;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr bool kScaled = false;
  static constexpr size_t kStepBytes = 64;
  static constexpr uint32_t Keys(size_t) { return 2; }
  using Element = uint16_t;
  struct Scale {};
  struct Vector {
    float lane[kLanes];
  };
  using Sums = Vector;
  struct Rows {
    float even[kLanes], odd[kLanes];
  };
  struct Key {
    float even, odd;
  };

  static Sums Begin(const char*) { return {}; }
  static Vector Finish(const Sums& sums, const char*, Scale) { return sums; }
  static Vector Load(const float* p) {
    Vector v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  static Rows LoadRows(const char* p) {
    Rows r;
    __builtin_memcpy(&r, p, sizeof(r));
    return r;
  }
  static float Float(uint16_t high) {
    const uint32_t bits = uint32_t{high} << 16;
    float x;
    __builtin_memcpy(&x, &bits, sizeof(x));
    return x;
  }
  static Key LoadKey(const uint16_t* p) { return {Float(p[0]), Float(p[1])}; }
  static Vector Add(Vector acc, const Rows& rows, const Key& key) {
    for (size_t l = 0; l < kLanes; ++l) acc.lane[l] += rows.even[l] * key.even;
    for (size_t l = 0; l < kLanes; ++l) acc.lane[l] += rows.odd[l] * key.odd;
    return acc;
  }
  static uint32_t Reach(const Vector& scores, const Vector& limit) {
    uint32_t reached = 0;
    for (size_t l = 0; l < kLanes; ++l) reached |= (scores.lane[l] >= limit.lane[l] ? 1u : 0u) << l;
    return reached;
  }
  static void Store(float* p, const Vector& v) { __builtin_memcpy(p, &v, sizeof(v)); }
};

using Tiles = ScanTiles<Portable>;

void Pack(const float* rows, size_t count, uint32_t dim, void* group) {
  PackFloats<Portable::kLanes>(rows, count, dim, group);
}

}  // namespace

constinit const ScanKernels kPortable = {
    ScanPath::kPortable, Portable::kLanes, Rounding::kNone, Rounding::kBfloat16, Tiles::GroupBytes, Pack, Tiles::Scan,
};

}  // namespace evoke::scan_internal
