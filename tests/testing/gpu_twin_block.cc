#include "tests/testing/gpu_twin_block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "server/base/check.h"
#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/primitives.h"
#include "tests/testing/gpu_twin.h"

namespace evoke::testing {
namespace {

using gpu::kBlockThreads;
using gpu::kWarp;

constexpr uint32_t kAlignment = 128;

thread_local TwinBlock* running = nullptr;

float OfBfloat16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

// Towards zero, subnormals flushed.
float Truncated(double x) {
  const auto rounded = static_cast<float>(x);
  const float result = std::abs(double{rounded}) > std::abs(x) ? std::nextafter(rounded, 0.0f) : rounded;
  return std::abs(result) < std::numeric_limits<float>::min() ? 0.0f : result;
}

// A sum as server/similarity/error_bound.cc describes it at its worst: each addend loses what lies more than 23 bits below the leading bit
// of the largest, and the sum is truncated.
float LossySum(const float* addends, uint32_t count) {
  float largest = 0;
  bool is_finite = true;
  for (uint32_t i = 0; i < count; ++i) {
    is_finite &= std::abs(addends[i]) <= std::numeric_limits<float>::max();
    largest = std::max(largest, std::abs(addends[i]));
  }
  if (!is_finite) return std::accumulate(addends, addends + count, 0.0f);
  if (largest < std::numeric_limits<float>::min()) return 0;
  const auto exponent = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23) - 127;
  const double unit = std::bit_cast<double>(static_cast<uint64_t>(exponent - 23 + 1023) << 52);
  const double inverse = 1 / unit;
  int64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += static_cast<int64_t>(addends[i] * inverse);
  return Truncated(static_cast<double>(sum) * unit);
}

}  // namespace

TwinBlock::TwinBlock() : fibers_(kBlockThreads), threads_(kBlockThreads) {}

void TwinBlock::Run(const Place& place, uint64_t seed, const std::function<void()>& kernel) {
  EVOKE_CHECK(running == nullptr);
  place_ = place;
  random_.seed(seed);
  addends_ = 4u << random_() % 3;
  memory_.assign(place.shared_bytes + kAlignment, static_cast<char>(0xff));
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  shared_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
  for (Thread& thread : threads_) thread = {};
  running = this;
  fibers_.Begin(kernel);
  constexpr uint32_t kWarps = kBlockThreads / kWarp;
  for (;;) {
    uint32_t ready[kWarps];
    uint32_t count = 0;
    for (uint32_t w = 0; w < kWarps; ++w) {
      if (threads_[w * kWarp].state == State::kReady) ready[count++] = w;
    }
    if (count > 0) {
      RunWarp(ready[random_() % count]);
      continue;
    }
    const State state = threads_[0].state;
    vote_ = false;
    for (const Thread& thread : threads_) {
      EVOKE_CHECK(thread.state == state);  // some threads ended, others wait for them
      vote_ |= thread.vote;
    }
    if (state == State::kDone) break;
    for (Thread& thread : threads_) thread.state = State::kReady;
  }
  running = nullptr;
}

// All lanes, up to what is collective; and that, if it is the warp's.
void TwinBlock::RunWarp(uint32_t warp) {
  Thread* const lanes = &threads_[warp * kWarp];
  const auto first = static_cast<uint32_t>(random_() % kWarp);
  for (uint32_t i = 0; i < kWarp; ++i) {
    const uint32_t lane = (first + i) % kWarp;
    if (fibers_.Resume(warp * kWarp + lane)) lanes[lane].state = State::kDone;
  }
  const State state = lanes[0].state;
  // The lanes of a warp came to different collectives.
  for (uint32_t i = 0; i < kWarp; ++i) EVOKE_CHECK(lanes[i].state == state);
  if (state == State::kSync || state == State::kDone) return;
  if (state == State::kShuffle) Shuffle(lanes);
  if (state == State::kLoad) Load(lanes);
  if (state == State::kMultiply) Multiply(lanes);
  for (uint32_t i = 0; i < kWarp; ++i) lanes[i].state = State::kReady;
}

void TwinBlock::Wait(State state) {
  self().state = state;
  fibers_.Yield();
}

bool TwinBlock::Sync(bool vote) {
  self().vote = vote;
  Wait(State::kSync);
  return vote_;
}

void TwinBlock::SyncWarp() { Wait(State::kSyncWarp); }

uint32_t TwinBlock::Shuffle(uint32_t value, uint32_t lane) {
  EVOKE_CHECK(lane < kWarp);
  self().value = value;
  self().lane = lane;
  Wait(State::kShuffle);
  return self().value;
}

void TwinBlock::Shuffle(Thread* lanes) {
  uint32_t values[kWarp];
  for (uint32_t i = 0; i < kWarp; ++i) values[i] = lanes[i].value;
  for (uint32_t i = 0; i < kWarp; ++i) lanes[i].value = values[lanes[i].lane];
}

void TwinBlock::LoadMatrices(uint32_t* out, const void* row) {
  self().out = out;
  self().row = row;
  Wait(State::kLoad);
}

void TwinBlock::Load(Thread* lanes) {
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    for (uint32_t i = 0; i < kWarp; ++i) {
      const void* const row = lanes[matrix * 8 + i / 4].row;
      EVOKE_CHECK(reinterpret_cast<uintptr_t>(row) % 16 == 0);
      std::memcpy(lanes[i].out + matrix, static_cast<const char*>(row) + i % 4 * 4, 4);
    }
  }
}

void TwinBlock::MultiplyAdd(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) {
  self().c = c;
  self().a = a;
  self().b[0] = b0;
  self().b[1] = b1;
  Wait(State::kMultiply);
}

// Fragments as "Matrix Fragments for mma.m16n8k16 with floating point type" has them: lane i, group i / 4, j = i % 4.
//   a[0..3]: row group (+8 in a[1], a[3]), columns 2 j, 2 j + 1 (+8 in a[2], a[3])
//   b[0..1]: rows 2 j, 2 j + 1 (+8 in b[1]), column group
//   c[0..3]: row group (+8 in c[2], c[3]), columns 2 j, 2 j + 1
void TwinBlock::Multiply(Thread* lanes) {
  float a[16][16];
  float b[8][16];  // by column
  for (uint32_t i = 0; i < kWarp; ++i) {
    const uint32_t group = i / 4;
    const uint32_t j = i % 4;
    for (uint32_t r = 0; r < 4; ++r) {
      float* const at = &a[group + r % 2 * 8][2 * j + r / 2 * 8];
      at[0] = OfBfloat16(lanes[i].a[r] & 0xffff);
      at[1] = OfBfloat16(lanes[i].a[r] >> 16);
    }
    for (uint32_t r = 0; r < 2; ++r) {
      float* const at = &b[group][2 * j + r * 8];
      at[0] = OfBfloat16(lanes[i].b[r] & 0xffff);
      at[1] = OfBfloat16(lanes[i].b[r] >> 16);
    }
  }
  for (uint32_t i = 0; i < kWarp; ++i) {
    for (uint32_t r = 0; r < 4; ++r) {
      const float* const row = a[i / 4 + r / 2 * 8];
      const float* const column = b[2 * (i % 4) + r % 2];
      float sum = lanes[i].c[r];
      for (uint32_t e = 0; e < 16; e += addends_) {
        float addends[17];
        for (uint32_t k = 0; k < addends_; ++k) addends[k] = row[e + k] * column[e + k];
        addends[addends_] = sum;
        sum = LossySum(addends, addends_ + 1);
      }
      lanes[i].c[r] = sum;
    }
  }
}

void TwinBlock::CopyAsync(void* to, const void* from) {
  EVOKE_CHECK(reinterpret_cast<uintptr_t>(to) % 16 == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0);
  std::memset(to, 0xff, 16);
  self().pending.push_back({to, from, self().commits});
}

void TwinBlock::CopyCommit() { ++self().commits; }

void TwinBlock::CopyWait(uint32_t open) {
  Thread& thread = self();
  std::erase_if(thread.pending, [&](const PendingCopy& copy) {
    if (copy.group + open >= thread.commits) return false;
    std::memcpy(copy.to, copy.from, 16);
    return true;
  });
}

void RunOnTwin(uint32_t blocks, size_t shared_bytes, uint64_t seed, const std::function<void()>& kernel) {
  static thread_local TwinBlock block;  // whose stacks are worth keeping
  std::mt19937_64 random(seed);
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random);
  for (const uint32_t b : order) {
    block.Run({.block = b, .grid = blocks, .shared_bytes = shared_bytes}, random(), kernel);
  }
}

}  // namespace evoke::testing

namespace evoke::gpu {

using testing::running;

uint32_t ThreadIndex() { return running->thread(); }
uint32_t BlockIndex() { return running->place().block; }
uint32_t GridSize() { return running->place().grid; }
char* SharedMemory() { return running->shared(); }
void Sync() { (void)running->Sync(false); }
bool SyncOr(bool mine) { return running->Sync(mine); }
void SyncWarp() { running->SyncWarp(); }
uint32_t Shuffle(uint32_t value, uint32_t lane) { return running->Shuffle(value, lane); }
uint32_t AtomicAdd(uint32_t* to, uint32_t value) { return std::exchange(*to, *to + value); }
void LoadMatrices(uint32_t (&out)[4], const void* row) { running->LoadMatrices(out, row); }
void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { running->MultiplyAdd(c, a, b0, b1); }
void CopyAsync(void* shared, const void* global) { running->CopyAsync(shared, global); }
void CopyCommit() { running->CopyCommit(); }
void CopyWaitFor(int open) { running->CopyWait(static_cast<uint32_t>(open)); }

}  // namespace evoke::gpu
