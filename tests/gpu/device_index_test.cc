// The questions of device_index_cases.cc to the devices that there are.
#include "server/index/device_plan.h"
#include "tests/gpu/device_index_cases.h"

namespace evoke {

std::vector<DeviceCase> DeviceCases() {
  std::vector<DeviceCase> cases;
  for (const std::string& name : DeviceIndexNames()) cases.push_back({.index = name});
  return cases;
}

std::string SkipReason() {
  static const auto* const reason = new std::string(ListDevices().ok() ? "" : "no GPU");
  return *reason;
}

}  // namespace evoke
