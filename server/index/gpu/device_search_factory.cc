#include "server/index/device_search_factory.h"

#include <cuda_runtime_api.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/index/gpu/cuda_fused_device.h"
#include "server/index/gpu/device.h"
#include "server/index/gpu/faiss_keys.h"
#include "server/index/gpu/fused_search.h"
#include "server/index/proposed_search.h"

namespace evoke {

absl::StatusOr<std::unique_ptr<DeviceSearch>> CreateDeviceSearch(std::string_view name,
                                                                 const DeviceSearchOptions& options) {
  if (name == "gpu") {
    EVOKE_ASSIGN_OR_RETURN(std::unique_ptr<gpu::FusedDevice> device, gpu::CreateCudaFusedDevice(options.device));
    return std::make_unique<gpu::FusedSearch>(std::move(device),
                                              gpu::FusedSearch::Options{.dim = options.dim, .capacity = options.capacity});
  }
  const KeyFormat format = name == "faiss_gpu_f16" ? KeyFormat::kFloat16 : KeyFormat::kFloat32;
  EVOKE_ASSIGN_OR_RETURN(std::unique_ptr<FaissKeys> keys,
                         FaissKeys::Create({.device = options.device,
                                            .dim = options.dim,
                                            .format = format,
                                            .rebuild_flat = name == "faiss_gpu_flat"}));
  return std::make_unique<ProposedSearch>(name, format, std::move(keys), options);
}

absl::StatusOr<std::vector<DeviceInfo>> ListDevices() {
  EVOKE_ASSIGN_OR_RETURN(const std::vector<int> numbers, Devices());
  std::vector<DeviceInfo> devices;
  for (const int number : numbers) {
    cudaDeviceProp properties;
    EVOKE_RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&properties, number), "asking for a device's properties"));
    EVOKE_ASSIGN_OR_RETURN(const DeviceMemory memory, MemoryOf(number));
    devices.push_back({.number = number,
                       .name = properties.name,
                       .free_bytes = memory.free_bytes,
                       .total_bytes = memory.total_bytes});
  }
  return devices;
}

std::string CudaVersion() { return absl::StrCat(CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10); }

}  // namespace evoke
