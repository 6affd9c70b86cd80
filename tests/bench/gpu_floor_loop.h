// The part of gpu_floor that nvcc compiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace evoke::bench {

// Blocks of eight warps, each of which does `rounds` times 16 products of 16 x 8 x 16 on registers.
constexpr uint32_t kLoopWarps = 8;
constexpr double kLoopFlops = 2.0 * 16 * 8 * 16 * 16;  // a warp and round
cudaError_t LaunchTensorLoop(uint32_t blocks, uint32_t rounds, float* never_written, cudaStream_t stream);

}  // namespace evoke::bench
