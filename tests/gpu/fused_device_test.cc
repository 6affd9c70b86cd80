// The questions of fused_device_cases.cc to the first device that there is.
#include "server/index/device_search_factory.h"
#include "server/index/gpu/cuda_fused_device.h"
#include "tests/gpu/fused_device_cases.h"

namespace evoke {

absl::StatusOr<std::unique_ptr<gpu::FusedDevice>> MakeFusedDevice() {
  if (!ListDevices().ok()) return nullptr;
  return gpu::CreateCudaFusedDevice(0);
}

}  // namespace evoke
