#include "server/index/scan_paths.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>

namespace evoke {
namespace {

#if defined(__x86_64__)

// Tiles are state that the kernel saves only for processes that have asked. (asm/prctl.h: ARCH_REQ_XCOMP_PERM,
// XFEATURE_XTILEDATA.)
bool TilesArePermitted() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// CPUID leaf 7: AMX-BF16 and AMX-TILE.
bool HasAmx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & (1u << 22)) != 0 && (edx & (1u << 24)) != 0 && TilesArePermitted();
}

bool IsAvailable(ScanPath path) {
  __builtin_cpu_init();  // needed where this runs before main
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f");
  switch (path) {
    case ScanPath::kPortable:
      return true;
    case ScanPath::kAvx2:
      return avx2;
    case ScanPath::kAvx512:
      return avx512;
    case ScanPath::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
    case ScanPath::kAvx512Bf16:  // uses VNNI too
      return IsAvailable(ScanPath::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16");
    case ScanPath::kAmxBf16:
      return avx512 && HasAmx();
  }
  return false;
}

#else

bool IsAvailable(ScanPath path) { return path == ScanPath::kPortable; }

#endif

constexpr int kNotChosen = -1;
constinit std::atomic<int> g_active{kNotChosen};

}  // namespace

std::vector<ScanPath> AvailableScanPaths() {
  std::vector<ScanPath> paths;
  for (const ScanPath path : {ScanPath::kPortable, ScanPath::kAvx2, ScanPath::kAvx512, ScanPath::kAvx512Vnni,
                              ScanPath::kAvx512Bf16, ScanPath::kAmxBf16}) {
    if (IsAvailable(path)) paths.push_back(path);
  }
  return paths;
}

// Relaxed: whoever chooses, chooses the same.
ScanPath ActiveScanPath() {
  int active = g_active.load(std::memory_order_relaxed);
  if (active == kNotChosen) {
    active = static_cast<int>(AvailableScanPaths().back());
    g_active.store(active, std::memory_order_relaxed);
  }
  return static_cast<ScanPath>(active);
}

std::string_view Name(ScanPath path) {
  switch (path) {
    case ScanPath::kPortable:
      return "portable";
    case ScanPath::kAvx2:
      return "avx2";
    case ScanPath::kAvx512:
      return "avx512";
    case ScanPath::kAvx512Vnni:
      return "avx512_vnni";
    case ScanPath::kAvx512Bf16:
      return "avx512_bf16";
    case ScanPath::kAmxBf16:
      return "amx_bf16";
  }
  return "unknown";
}

// Up to how many rows a lane a component is faster than a lane a row, and than two lanes a row; up to how many these are
// faster than one; and from how many on it pays to round keys to 8 bits:
// beside float32, and beside bfloat16. More keys survive the rougher scores, so they must be a small part of all, and rows
// not long (262,144 random keys, 64 rows: even with bfloat16 at some 300 components).
constexpr size_t kFewRows = 6;
constexpr size_t kEightRows = 8;
constexpr size_t kInt8Rows = 17;
constexpr size_t kInt8RowsBesideBfloat16 = 48;
constexpr size_t kInt8KeysAWanted = 1024;
constexpr uint32_t kInt8DimBesideBfloat16 = 256;

const ScanKernels& ScanKernelsFor(ScanPath path, uint32_t dim, size_t rows, size_t keys_a_wanted) {
  const bool few = rows <= kFewRows;
  const bool rough = keys_a_wanted >= kInt8KeysAWanted && dim <= kInt8MostDim;
#if defined(__x86_64__)
  const ScanKernels& avx512 = few                  ? scan_internal::kAvx512Few
                              : rows <= kEightRows ? scan_internal::kAvx512Eight
                                                   : scan_internal::kAvx512;
  switch (path) {
    case ScanPath::kPortable:
      break;
    case ScanPath::kAvx2:
      return few ? scan_internal::kAvx2Few : scan_internal::kAvx2;
    case ScanPath::kAvx512:
      return avx512;
    case ScanPath::kAvx512Vnni:
      return rough && rows >= kInt8Rows ? scan_internal::kAvx512Vnni : avx512;
    case ScanPath::kAvx512Bf16:
      if (rough && dim <= kInt8DimBesideBfloat16 && rows >= kInt8RowsBesideBfloat16) return scan_internal::kAvx512Vnni;
      if (few) return scan_internal::kAvx512Bf16Few;
      return rows <= kEightRows ? scan_internal::kAvx512Bf16Eight : scan_internal::kAvx512Bf16;
    case ScanPath::kAmxBf16:
      return scan_internal::kAmxBf16;
  }
#endif
  return scan_internal::kPortable;
}

ScopedScanPath::ScopedScanPath(ScanPath path) : before_(ActiveScanPath()) {
  g_active.store(static_cast<int>(path), std::memory_order_relaxed);
}

ScopedScanPath::~ScopedScanPath() { g_active.store(static_cast<int>(before_), std::memory_order_relaxed); }

}  // namespace evoke
