// What the twin of a GPU does with kernels that are right, and with some that are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "server/index/gpu/primitives.h"
#include "server/index/gpu/select.cuh"
#include "tests/gpu/fused_device_cases.h"
#include "tests/testing/gpu_twin.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

using gpu::kBlockThreads;
using testing::RunOnTwin;

TEST(GpuTwinTest, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<uint32_t> seen(5 * kBlockThreads);
  RunOnTwin(5, 0, 1, [&] { ++seen[gpu::BlockIndex() * kBlockThreads + gpu::ThreadIndex()]; });
  EXPECT_THAT(seen, ::testing::Each(1u));
}

TEST(GpuTwinTest, SharedMemoryIsFullOfOnesUntilItIsWritten) {
  uint32_t first = 0;
  RunOnTwin(1, 64, 1, [&] { first = *reinterpret_cast<uint32_t*>(gpu::SharedMemory()); });
  EXPECT_EQ(first, 0xffffffffu);
}

// Half of the threads read what the others write; without a barrier some order of warps shows it.
TEST(GpuTwinTest, AMissingBarrierShows) {
  const auto run = [](uint64_t seed, bool barrier) {
    bool all = true;
    RunOnTwin(1, kBlockThreads * 4, seed, [&] {
      auto* const shared = reinterpret_cast<uint32_t*>(gpu::SharedMemory());
      const uint32_t thread = gpu::ThreadIndex();
      shared[thread] = thread;
      if (barrier) gpu::Sync();
      all &= shared[kBlockThreads - 1 - thread] == kBlockThreads - 1 - thread;
    });
    return all;
  };
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_TRUE(run(seed, true));
    EXPECT_FALSE(run(seed, false));
  }
}

TEST(GpuTwinTest, ACopyIsThereAfterItsWaitAndNotBefore) {
  alignas(16) static const uint32_t source[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<uint32_t> seen;
  RunOnTwin(1, 64, 1, [&] {
    if (gpu::ThreadIndex() != 0) return;
    char* const shared = gpu::SharedMemory();
    const auto look = [&](size_t at) { seen.push_back(reinterpret_cast<uint32_t*>(shared)[at]); };
    gpu::CopyAsync(shared, source);
    gpu::CopyCommit();
    gpu::CopyAsync(shared + 16, source + 4);
    gpu::CopyCommit();
    look(0);
    gpu::CopyWait<1>();
    look(0);
    look(4);
    gpu::CopyWait<0>();
    look(4);
  });
  EXPECT_THAT(seen, ::testing::ElementsAre(0xffffffffu, 1u, 0xffffffffu, 5u));
}

TEST(GpuTwinDeathTest, LanesThatComeToDifferentCollectivesAreAnError) {
  EXPECT_DEATH(RunOnTwin(1, 0, 1, [] {
                 if (gpu::ThreadIndex() == 3) {
                   gpu::Sync();
                 } else {
                   (void)gpu::Shuffle(1, 1);
                 }
               }),
               "check failed");
  EXPECT_DEATH(RunOnTwin(1, 0, 1, [] {
                 if (gpu::ThreadIndex() >= gpu::kWarp) gpu::Sync();
               }),
               "check failed");
}

TEST(SelectTest, FindsTheRankThLargestOfAnyNumbers) {
  std::mt19937_64 random = SeededGenerator();
  for (const uint32_t count : {1u, 2u, 255u, 256u, 257u, 3000u}) {
    for (int kind = 0; kind < 3; ++kind) {
      std::vector<uint32_t> values(count);
      for (uint32_t& v : values) v = static_cast<uint32_t>(kind == 0 ? random() : kind == 1 ? random() % 3 : 0xffffff00 + random() % 256);
      std::vector<uint32_t> sorted = values;
      std::sort(sorted.rbegin(), sorted.rend());
      for (const uint32_t rank : {1u, (count + 1) / 2, count}) {
        std::vector<uint32_t> found(kBlockThreads);
        RunOnTwin(1, sizeof(gpu::SelectSpace), random(), [&] {
          auto* const space = reinterpret_cast<gpu::SelectSpace*>(gpu::SharedMemory());
          found[gpu::ThreadIndex()] = gpu::SelectLargest([&](uint32_t i) { return values[i]; }, count, rank, space);
        });
        EXPECT_THAT(found, ::testing::Each(sorted[rank - 1])) << count << " " << rank;
      }
    }
  }
}

}  // namespace

// Asked what a GPU is asked (tests/gpu/fused_device_cases.cc).
absl::StatusOr<std::unique_ptr<gpu::FusedDevice>> MakeFusedDevice() { return testing::CreateGpuTwin({}); }

}  // namespace evoke
