// One block of the twin of a GPU (gpu_twin.h): its threads, warps, barriers and shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "tests/testing/fibers.h"

namespace evoke::testing {

class TwinBlock {
 public:
  TwinBlock();

  struct Place {
    uint32_t block = 0;
    uint32_t grid = 0;
    size_t shared_bytes = 0;
  };
  // All threads of one block, to their ends. Aborts when lanes of a warp, or threads of the block, come to different
  // collectives.
  void Run(const Place& place, uint64_t seed, const std::function<void()>& kernel);

  // The primitives, as the running thread calls them (server/index/gpu/primitives.h).
  uint32_t thread() const { return fibers_.current(); }
  const Place& place() const { return place_; }
  char* shared() { return shared_; }
  bool Sync(bool vote);
  void SyncWarp();
  uint32_t Shuffle(uint32_t value, uint32_t lane);
  void LoadMatrices(uint32_t* out, const void* row);
  void MultiplyAdd(float* c, const uint32_t* a, uint32_t b0, uint32_t b1);
  void CopyAsync(void* to, const void* from);
  void CopyCommit();
  void CopyWait(uint32_t open);

 private:
  enum class State : uint8_t { kReady, kSync, kSyncWarp, kShuffle, kLoad, kMultiply, kDone };
  struct PendingCopy {
    void* to;
    const void* from;
    uint32_t group;
  };
  struct Thread {
    State state = State::kReady;
    // Of the collective that it has come to.
    uint32_t value = 0;
    uint32_t lane = 0;
    bool vote = false;
    uint32_t* out = nullptr;
    const void* row = nullptr;
    float* c = nullptr;
    const uint32_t* a = nullptr;
    uint32_t b[2] = {};
    // Its copies.
    std::vector<PendingCopy> pending;
    uint32_t commits = 0;
  };

  Thread& self() { return threads_[fibers_.current()]; }
  void Wait(State state);
  void RunWarp(uint32_t warp);
  void Shuffle(Thread* lanes);
  void Load(Thread* lanes);
  void Multiply(Thread* lanes);

  Fibers fibers_;
  Place place_;
  std::mt19937_64 random_;
  uint32_t addends_ = 8;  // of a sum of the tensor cores
  std::vector<Thread> threads_;
  std::vector<char> memory_;
  char* shared_ = nullptr;
  bool vote_ = false;
};

}  // namespace evoke::testing
