// The fused scan's machine on a GPU: its kernels by nvcc, in one stream of one device.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/index/gpu/fused_device.h"

namespace evoke::gpu {

// On the device that CUDA numbers so. UNAVAILABLE: no such device, no driver, none of the architectures that this was
// compiled for, or less than compute capability 8.0.
absl::StatusOr<std::unique_ptr<FusedDevice>> CreateCudaFusedDevice(int device);

}  // namespace evoke::gpu
