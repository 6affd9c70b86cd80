// The questions of tests/gpu/device_index_cases.cc to the twin: everything of an index on a device but the device.
#include "tests/gpu/device_index_cases.h"
#include "tests/testing/gpu_twin.h"
#include "tests/testing/twin_keys.h"

namespace evoke {

std::vector<DeviceCase> DeviceCases() {
  std::vector<DeviceCase> cases = {{.index = "faiss_gpu", .devices = TwinDevices(), .slow = true},
                                   {.index = "faiss_gpu_f16", .devices = TwinDevices(), .slow = true}};
  if (testing::GpuTwinRuns()) {
    cases.push_back({.index = "gpu", .devices = testing::GpuTwinDevices({}, TwinDevices()), .slow = true});
  }
  return cases;
}

std::string SkipReason() { return ""; }

}  // namespace evoke
