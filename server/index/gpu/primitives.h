// The few things that a kernel does beyond C++: who am I, barriers, warps, tensor cores, copies to shared memory.
//
// A kernel is written against these alone, and so the same source runs on a device (compiled by nvcc, below) and on a CPU,
// where tests/testing/gpu_twin.cc defines them by the words of the PTX ISA. Blocks have one dimension. What is collective
// over a warp is called by all 32 lanes together, what is collective over a block by all threads.
//
//   ThreadIndex, BlockIndex, GridSize     of this thread, in one dimension
//   SharedMemory                          of this block; holds anything until it is written
//   Sync, SyncOr                          barrier of the block; whether any thread said true
//   SyncWarp                              barrier of the warp
//   Shuffle                               the value of another lane
//   AtomicAdd                             returns what was there
//   LoadMatrices                          four 8 x 8 matrices of 16 bits; lane i gives the address of row i % 8 of the (i / 8)-th,
//                                         and gets in out[j] elements 2 (i % 4), + 1 of row i / 4 of the j-th
//   MultiplyAdd                           c[16 x 8] += a[16 x 16] b[16 x 8], bfloat16 into float32 (mma.m16n8k16)
//   CopyAsync, CopyCommit, CopyWait<n>    16 bytes to shared memory, some time before CopyWait leaves at most n commits open
//   Fma, Add                              rounded once to nearest, subnormals kept
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#define EVOKE_DEVICE __device__ __forceinline__
#define EVOKE_UNROLL _Pragma("unroll")

namespace evoke::gpu {

EVOKE_DEVICE uint32_t ThreadIndex() { return threadIdx.x; }
EVOKE_DEVICE uint32_t BlockIndex() { return blockIdx.x; }
EVOKE_DEVICE uint32_t GridSize() { return gridDim.x; }

EVOKE_DEVICE char* SharedMemory() {
  extern __shared__ __align__(128) char evoke_shared_memory[];
  return evoke_shared_memory;
}

EVOKE_DEVICE void Sync() { __syncthreads(); }
EVOKE_DEVICE bool SyncOr(bool mine) { return __syncthreads_or(mine ? 1 : 0) != 0; }
EVOKE_DEVICE void SyncWarp() { __syncwarp(); }
EVOKE_DEVICE uint32_t Shuffle(uint32_t value, uint32_t lane) {
  return __shfl_sync(0xffffffffu, value, static_cast<int>(lane));
}
EVOKE_DEVICE uint32_t AtomicAdd(uint32_t* to, uint32_t value) { return atomicAdd(to, value); }

EVOKE_DEVICE uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
EVOKE_DEVICE void LoadMatrices(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(SharedAddress(row))
               : "memory");
}
EVOKE_DEVICE void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
EVOKE_DEVICE void CopyAsync(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;"
               :
               : "r"(SharedAddress(shared)), "l"(__cvta_generic_to_global(global))
               : "memory");
}
EVOKE_DEVICE void CopyCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kOpen>
EVOKE_DEVICE void CopyWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
}

EVOKE_DEVICE float Fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
EVOKE_DEVICE float Add(float a, float b) { return __fadd_rn(a, b); }
EVOKE_DEVICE float FloatOf(uint32_t bits) { return __uint_as_float(bits); }
EVOKE_DEVICE uint32_t BitsOf(float value) { return __float_as_uint(value); }
EVOKE_DEVICE uint32_t LowestBit(uint32_t nonzero) { return static_cast<uint32_t>(__ffs(static_cast<int>(nonzero)) - 1); }

}  // namespace evoke::gpu

#else

#include <bit>
#include <cmath>

#define EVOKE_DEVICE inline
#define EVOKE_UNROLL

namespace evoke::gpu {

uint32_t ThreadIndex();
uint32_t BlockIndex();
uint32_t GridSize();
char* SharedMemory();
void Sync();
bool SyncOr(bool mine);
void SyncWarp();
uint32_t Shuffle(uint32_t value, uint32_t lane);
uint32_t AtomicAdd(uint32_t* to, uint32_t value);
void LoadMatrices(uint32_t (&out)[4], const void* row);
void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
void CopyAsync(void* shared, const void* global);
void CopyCommit();
void CopyWaitFor(int open);
template <int kOpen>
inline void CopyWait() {
  CopyWaitFor(kOpen);
}

inline float Fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float Add(float a, float b) { return a + b; }
inline float FloatOf(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t BitsOf(float value) { return std::bit_cast<uint32_t>(value); }
inline uint32_t LowestBit(uint32_t nonzero) { return static_cast<uint32_t>(std::countr_zero(nonzero)); }

}  // namespace evoke::gpu

#endif

namespace evoke::gpu {

// Floats as whole numbers of the same order; -0 comes before +0, NaNs lie beyond the infinities.
EVOKE_DEVICE uint32_t Ordered(float value) {
  const uint32_t bits = BitsOf(value);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
EVOKE_DEVICE float FromOrdered(uint32_t ordered) {
  return FloatOf(ordered ^ ((ordered >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

// At most score - margin, and at most two numbers of float32 below it. Requires: both finite. (Rounded to nearest, the
// difference is the next number above the true one at worst; the one before that is not above it.)
EVOKE_DEVICE float Below(float score, float margin) {
  const float difference = Add(score, -margin);
  return FromOrdered(Ordered(difference) - 1);
}

}  // namespace evoke::gpu
