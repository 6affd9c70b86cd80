#include "server/index/gpu/cuda_fused_device.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/index/gpu/device.h"
#include "server/index/gpu/fused_kernels.h"

namespace evoke::gpu {
namespace {

absl::StatusOr<int> Attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaDeviceGetAttribute(&value, which, device), "asking for a device's attribute"));
  return value;
}

class CudaFusedDevice final : public FusedDevice {
 public:
  explicit CudaFusedDevice(int device) : device_(device) {}

  absl::Status Create() {
    const DeviceScope scope(device_);
    EVOKE_RETURN_IF_ERROR(scope.status());
    EVOKE_ASSIGN_OR_RETURN(const int major, Attribute(cudaDevAttrComputeCapabilityMajor, device_));
    if (major < 8) {
      return absl::UnavailableError(
          absl::StrCat("device ", device_, " has compute capability ", major, ", the fused scan needs 8.0"));
    }
    EVOKE_ASSIGN_OR_RETURN(multiprocessors_, Attribute(cudaDevAttrMultiProcessorCount, device_));
    EVOKE_ASSIGN_OR_RETURN(shared_bytes_, Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device_));
    // Kernels write to pinned memory by the host's own address.
    EVOKE_ASSIGN_OR_RETURN(const int unified, Attribute(cudaDevAttrUnifiedAddressing, device_));
    if (unified == 0) return absl::UnavailableError(absl::StrCat("device ", device_, " has addresses of its own"));
    EVOKE_RETURN_IF_ERROR(CudaStatus(AllowSharedMemory(shared_bytes()), "preparing the fused scan"));
    return stream_.Create();
  }

  absl::StatusOr<void*> Allocate(Where where, size_t bytes) override {
    const DeviceScope scope(device_);
    EVOKE_RETURN_IF_ERROR(scope.status());
    void* memory = nullptr;
    const cudaError_t error =
        where == Where::kDevice ? cudaMalloc(&memory, bytes) : cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
    EVOKE_RETURN_IF_ERROR(CudaStatus(
        error, absl::StrCat("allocating ", bytes, where == Where::kDevice ? " bytes on the device" : " pinned bytes")));
    return memory;
  }
  void Release(Where where, void* memory) override {
    const DeviceScope scope(device_);
    // A device that is lost has nothing left to give back.
    if (!scope.status().ok()) return;
    (void)stream_.Synchronize();
    (void)(where == Where::kDevice ? cudaFree(memory) : cudaFreeHost(memory));
  }
  size_t shared_bytes() const override { return static_cast<size_t>(shared_bytes_); }

  absl::Status ToDevice(void* to, const void* pinned, size_t bytes) override {
    return Copy(to, pinned, bytes, cudaMemcpyHostToDevice);
  }
  absl::Status ToHost(void* pinned, const void* from, size_t bytes) override {
    return Copy(pinned, from, bytes, cudaMemcpyDeviceToHost);
  }
  absl::Status OnDevice(void* to, const void* from, size_t bytes) override {
    return Copy(to, from, bytes, cudaMemcpyDeviceToDevice);
  }
  absl::Status Synchronize() override {
    const DeviceScope scope(device_);
    EVOKE_RETURN_IF_ERROR(scope.status());
    return stream_.Synchronize();
  }

  absl::Status Clear(const ClearArgs& args) override {
    return Launched("clearing keys", [&] { return LaunchClear(args, stream_.get()); });
  }
  absl::Status Scatter(const MoveArgs& args) override {
    return Launched("writing keys", [&] { return LaunchScatter(args, stream_.get()); });
  }
  absl::Status Gather(const MoveArgs& args) override {
    return Launched("reading keys", [&] { return LaunchGather(args, stream_.get()); });
  }
  absl::Status Scan(ScanShape shape, const ScanArgs& args) override {
    return Launched("scanning keys", [&] {
      // As many blocks as run at once: each goes through its tiles to the end, its pipeline filled once.
      AtOnce& known = at_once_[static_cast<size_t>(shape)];
      if (known.stride != args.stride) {
        int blocks = 0;
        const cudaError_t error = BlocksAtOnce(shape, args.stride, &blocks);
        if (error != cudaSuccess) return error;
        known = {.stride = args.stride, .blocks = static_cast<uint32_t>(std::max(blocks, 1) * multiprocessors_)};
      }
      return LaunchScan(shape, args, std::min(args.tiles, known.blocks), stream_.get());
    });
  }
  absl::Status Begin(uint32_t rows, const BeginArgs& args) override {
    return Launched("beginning a search", [&] { return LaunchBegin(rows, args, stream_.get()); });
  }
  absl::Status Decide(uint32_t rows, const DecideArgs& args) override {
    return Launched("deciding a search", [&] { return LaunchDecide(rows, args, stream_.get()); });
  }

 private:
  struct AtOnce {
    uint32_t stride = 0;
    uint32_t blocks = 0;
  };

  absl::Status Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return Launched("copying", [&] { return cudaMemcpyAsync(to, from, bytes, kind, stream_.get()); });
  }
  template <typename Enqueue>
  absl::Status Launched(std::string_view what, Enqueue enqueue) {
    const DeviceScope scope(device_);
    EVOKE_RETURN_IF_ERROR(scope.status());
    return CudaStatus(enqueue(), what);
  }

  const int device_;
  int multiprocessors_ = 0;
  int shared_bytes_ = 0;
  std::array<AtOnce, std::size(kScanShapes)> at_once_;
  Stream stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FusedDevice>> CreateCudaFusedDevice(int device) {
  auto created = std::make_unique<CudaFusedDevice>(device);
  EVOKE_RETURN_IF_ERROR(created->Create());
  return created;
}

}  // namespace evoke::gpu
