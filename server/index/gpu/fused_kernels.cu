// Compiled by nvcc; everything that the host does besides is compiled by the host's compiler (cuda_fused_device.cc).
#include "server/index/gpu/fused_kernels.h"

#include "server/index/gpu/decide_kernels.cuh"
#include "server/index/gpu/move_kernels.cuh"
#include "server/index/gpu/scan_kernel.cuh"

namespace evoke::gpu {
namespace {

__global__ void __launch_bounds__(kBlockThreads) Clear(const __grid_constant__ ClearArgs args) { ClearKernel(args); }
__global__ void __launch_bounds__(kBlockThreads) Scatter(const __grid_constant__ MoveArgs args) { MoveKernel<true>(args); }
__global__ void __launch_bounds__(kBlockThreads) Gather(const __grid_constant__ MoveArgs args) { MoveKernel<false>(args); }
__global__ void __launch_bounds__(kBlockThreads) Begin(const __grid_constant__ BeginArgs args) { BeginKernel(args); }
__global__ void __launch_bounds__(kBlockThreads) Decide(const __grid_constant__ DecideArgs args) { DecideKernel(args); }
// One block a multiprocessor may use all of its registers.
template <class Shape>
__global__ void __launch_bounds__(kBlockThreads, 1) Scan(const __grid_constant__ ScanArgs args) {
  ScanKernel<Shape>(args);
}

template <typename Kernel>
cudaError_t Allow(Kernel* kernel, size_t shared_bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
}

template <typename Args>
cudaError_t Launch(void (*kernel)(Args), uint64_t blocks, size_t shared_bytes, const Args& args, cudaStream_t stream) {
  if (blocks == 0) return cudaSuccess;
  if (blocks > 0x7fffffffu) return cudaErrorInvalidConfiguration;
  kernel<<<static_cast<unsigned>(blocks), kBlockThreads, shared_bytes, stream>>>(args);
  return cudaGetLastError();
}

}  // namespace

cudaError_t AllowSharedMemory(size_t shared_bytes) {
  cudaError_t error = Allow(Decide, shared_bytes);
  for (const ScanShape shape : kScanShapes) {
    if (error != cudaSuccess) return error;
    error = WithShape(shape, [&](auto s) { return Allow(Scan<decltype(s)>, shared_bytes); });
  }
  return error;
}

cudaError_t BlocksAtOnce(ScanShape shape, uint32_t stride, int* blocks) {
  return WithShape(shape, [&](auto s) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, Scan<decltype(s)>, static_cast<int>(kBlockThreads),
                                                         s.SharedBytes(stride));
  });
}

cudaError_t LaunchClear(const ClearArgs& args, cudaStream_t stream) {
  return Launch(Clear, MoveBlocks(args.count, args.keys.stride), 0, args, stream);
}
cudaError_t LaunchScatter(const MoveArgs& args, cudaStream_t stream) {
  return Launch(Scatter, MoveBlocks(args.count, args.keys.stride), 0, args, stream);
}
cudaError_t LaunchGather(const MoveArgs& args, cudaStream_t stream) {
  return Launch(Gather, MoveBlocks(args.count, args.keys.stride), 0, args, stream);
}
cudaError_t LaunchScan(ScanShape shape, const ScanArgs& args, uint32_t blocks, cudaStream_t stream) {
  return WithShape(shape, [&](auto s) {
    return Launch(Scan<decltype(s)>, blocks, s.SharedBytes(args.stride), args, stream);
  });
}
cudaError_t LaunchBegin(uint32_t rows, const BeginArgs& args, cudaStream_t stream) {
  return Launch(Begin, rows, sizeof(SelectSpace), args, stream);
}
cudaError_t LaunchDecide(uint32_t rows, const DecideArgs& args, cudaStream_t stream) {
  return Launch(Decide, rows, DecideSharedBytes(args.capacity, args.keys.stride), args, stream);
}

}  // namespace evoke::gpu
