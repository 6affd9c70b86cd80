// What is asked of every index on a device: by tests/gpu of real ones, by tests/unit/index of their twin on the CPU.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "server/index/device_search_factory.h"

namespace evoke {

struct DeviceCase {
  std::string index;         // "faiss_gpu"
  MakeDeviceSearch devices;  // empty: real ones
  bool slow = false;         // compares by loops: sizes are a part of what a device is asked
};

inline void PrintTo(const DeviceCase& c, std::ostream* out) { *out << c.index; }

// Defined by the binary. Empty `skip`: ask; else why not.
std::vector<DeviceCase> DeviceCases();
std::string SkipReason();

}  // namespace evoke
