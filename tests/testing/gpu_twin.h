// A GPU that is not one: runs the kernels of server/index/gpu on the CPU, thread by thread, as the PTX ISA says that they
// may run, and so that what they may not rely on goes wrong.
//
// The threads of a block are fibers; blocks run one after the other, in an order that a seed decides, and so do warps, and
// lanes between what is collective. Collectives check that all lanes, or threads, come to the same one. Memory that nobody
// has written is full of ones: NaNs, and indices far out. A destination of CopyAsync holds that from the copy's issue until
// the wait that ends it, so that too early a read and too late a one both show. Sums of MultiplyAdd lose as much as
// server/similarity/error_bound.cc assumes that they may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/index/device_search_factory.h"
#include "server/index/gpu/fused_device.h"

namespace evoke::testing {

struct GpuTwinOptions {
  uint64_t seed = 0;
  uint32_t blocks = 3;              // that a scan has at once
  size_t shared_bytes = 227 << 10;  // as compute capability 9.0 has it
  size_t memory_bytes = size_t{1} << 32;  // of the device; more is RESOURCE_EXHAUSTED
  std::function<absl::Status()> fault;    // asked before all that can fail; empty: nothing does
};

// Nothing happens before a wait: copies and kernels are done, in order, by Synchronize, Release and Allocate, so that who
// reads results or writes over what is to be copied too early is found out.
std::unique_ptr<gpu::FusedDevice> CreateGpuTwin(const GpuTwinOptions& options);

// False where tests of all indexes leave it out: to TSan fibers are no threads, and under ASan fused_search_test is enough.
bool GpuTwinRuns();

// "gpu" on such a twin, other names on `others`: for IndexOptions::make_device.
MakeDeviceSearch GpuTwinDevices(const GpuTwinOptions& options, MakeDeviceSearch others);

// Runs `kernel` once for each thread of so many blocks of 256. For tests of the twin itself.
void RunOnTwin(uint32_t blocks, size_t shared_bytes, uint64_t seed, const std::function<void()>& kernel);

}  // namespace evoke::testing
