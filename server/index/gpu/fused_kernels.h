// The kernels of the fused scan as functions of the host: each enqueues one launch on the current device, and returns what
// CUDA says of it. What they do stands in kernel_args.h and in the kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/scan_shape.h"

namespace evoke::gpu {

// Before any launch on a device: lets its kernels have that much shared memory a block.
cudaError_t AllowSharedMemory(size_t shared_bytes);
// Blocks of this shape that a multiprocessor holds at once.
cudaError_t BlocksAtOnce(ScanShape shape, uint32_t stride, int* blocks);

cudaError_t LaunchClear(const ClearArgs& args, cudaStream_t stream);
cudaError_t LaunchScatter(const MoveArgs& args, cudaStream_t stream);
cudaError_t LaunchGather(const MoveArgs& args, cudaStream_t stream);
cudaError_t LaunchScan(ScanShape shape, const ScanArgs& args, uint32_t blocks, cudaStream_t stream);
cudaError_t LaunchBegin(uint32_t rows, const BeginArgs& args, cudaStream_t stream);
cudaError_t LaunchDecide(uint32_t rows, const DecideArgs& args, cudaStream_t stream);

}  // namespace evoke::gpu
