// Devices and those that search on them, without a word of CUDA. Made with -DEVOKE_GPU=ON (gpu/device_search_factory.cc) or
// not at all (device_search_absent.cc): then every call says UNIMPLEMENTED / NOT_BUILT, naming the option.
//
// Thread-safe. A driver that is not there is an error of a call, never of the process's start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/index/device_search.h"

namespace evoke {

struct DeviceSearchOptions {
  int device = 0;         // as the driver numbers them
  uint32_t dim = 0;
  uint32_t capacity = 0;  // positions 0 .. capacity - 1
  Parallel parallel;      // for what the CPU does of a search; empty: the calling thread alone
};

// Requires: IsDeviceIndex(name). Takes no memory for keys yet. UNAVAILABLE: no driver, no such device; RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<DeviceSearch>> CreateDeviceSearch(std::string_view name, const DeviceSearchOptions& options);
using MakeDeviceSearch = std::function<absl::StatusOr<std::unique_ptr<DeviceSearch>>(std::string_view name,
                                                                                     const DeviceSearchOptions& options)>;

struct DeviceInfo {
  int number = 0;
  std::string name;  // "NVIDIA H200"
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
};
// Ascending, at least one. UNAVAILABLE: there is none, or no driver.
absl::StatusOr<std::vector<DeviceInfo>> ListDevices();

// What this is built with: "13.0", or "off".
std::string CudaVersion();

}  // namespace evoke
