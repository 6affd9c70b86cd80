#include "server/index/gpu/primitives.h"
#include "tests/bench/gpu_floor_loop.h"

namespace evoke::bench {
namespace {

constexpr uint32_t kSums = 16;  // that do not wait for each other

__global__ void __launch_bounds__(kLoopWarps * 32) TensorLoop(uint32_t rounds, float* never_written) {
  const uint32_t a[4] = {threadIdx.x, threadIdx.x + 1, threadIdx.x + 2, threadIdx.x + 3};
  float sums[kSums][4] = {};
  for (uint32_t round = 0; round < rounds; ++round) {
    _Pragma("unroll") for (uint32_t i = 0; i < kSums; ++i) gpu::MultiplyAdd(sums[i], a, i, round);
  }
  float all = 0;
  _Pragma("unroll") for (uint32_t i = 0; i < kSums; ++i) all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  if (all == 1.25f) *never_written = all;  // which no compiler knows
}

}  // namespace

cudaError_t LaunchTensorLoop(uint32_t blocks, uint32_t rounds, float* never_written, cudaStream_t stream) {
  TensorLoop<<<blocks, kLoopWarps * 32, 0, stream>>>(rounds, never_written);
  return cudaGetLastError();
}

}  // namespace evoke::bench
