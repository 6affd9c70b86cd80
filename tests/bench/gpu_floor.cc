#include "tests/bench/gpu_floor.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>

#include "server/base/status_macros.h"
#include "server/index/gpu/device.h"
#include "tests/bench/gpu_floor_loop.h"

namespace evoke::bench {
namespace {

constexpr uint64_t kCopyBytes = uint64_t{2} << 30;
constexpr int kTries = 7;
constexpr int kCopies = 4;
constexpr uint32_t kRounds = 20'000;

// Of the fastest try. The stream is idle before and after.
template <typename Work>
absl::StatusOr<double> BestSeconds(const Stream& stream, Work work) {
  double best = 1e9;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    EVOKE_RETURN_IF_ERROR(CudaStatus(work(), "measuring the device"));
    EVOKE_RETURN_IF_ERROR(stream.Synchronize());
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace

absl::StatusOr<GpuFloor> MeasureGpuFloor(int device) {
  const DeviceScope scope(device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  Stream stream;
  EVOKE_RETURN_IF_ERROR(stream.Create());
  int multiprocessors = 0;
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
                                   "asking for a device's attribute"));
  DeviceBuffer from;
  DeviceBuffer to;
  EVOKE_RETURN_IF_ERROR(from.Reserve(kCopyBytes, stream));
  EVOKE_RETURN_IF_ERROR(to.Reserve(kCopyBytes, stream));
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaMemsetAsync(from.as<char>(), 1, kCopyBytes, stream.get()), "measuring the device"));
  GpuFloor floor;
  EVOKE_ASSIGN_OR_RETURN(const double copying, BestSeconds(stream, [&] {
                           cudaError_t error = cudaSuccess;
                           for (int i = 0; i < kCopies && error == cudaSuccess; ++i) {
                             error = cudaMemcpyAsync(to.as<char>(), from.as<char>(), kCopyBytes, cudaMemcpyDeviceToDevice,
                                                     stream.get());
                           }
                           return error;
                         }));
  floor.bytes_per_second = 2.0 * kCopies * static_cast<double>(kCopyBytes) / copying;
  const auto blocks = static_cast<uint32_t>(2 * multiprocessors);
  EVOKE_ASSIGN_OR_RETURN(const double multiplying, BestSeconds(stream, [&] {
                           return LaunchTensorLoop(blocks, kRounds, to.as<float>(), stream.get());
                         }));
  floor.flops = kLoopFlops * kRounds * kLoopWarps * blocks / multiplying;
  return floor;
}

}  // namespace evoke::bench
