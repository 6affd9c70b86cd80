// Which rough scan this machine can run (scan_kernels.h). Thread-safe.
#pragma once

#include <string_view>
#include <vector>

#include "server/index/scan_kernels.h"

namespace evoke {

// The paths that this machine can run, kPortable first, the preferred one last.
std::vector<ScanPath> AvailableScanPaths();

// The one that searches take: the preferred one, unless a test has set another.
ScanPath ActiveScanPath();

// "portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16" or "amx_bf16".
std::string_view Name(ScanPath path);

// What is best for so many rows of `dim` components, of which each wants one key in `keys_a_wanted`. Requires: the path is
// available.
const ScanKernels& ScanKernelsFor(ScanPath path, uint32_t dim, size_t rows, size_t keys_a_wanted);

// Tests and benchmarks only. Makes every thread take `path` while it lives; one at a time.
class ScopedScanPath {
 public:
  explicit ScopedScanPath(ScanPath path);
  ~ScopedScanPath();
  ScopedScanPath(const ScopedScanPath&) = delete;
  ScopedScanPath& operator=(const ScopedScanPath&) = delete;

 private:
  const ScanPath before_;
};

}  // namespace evoke
