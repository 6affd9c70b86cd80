// The rank-th largest of many numbers, by one block: four passes, a byte each, from the highest.
#pragma once

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/primitives.h"

namespace evoke::gpu {

inline constexpr uint32_t kBins = 256;
static_assert(kBins == kBlockThreads);  // a thread each

struct SelectSpace {  // in shared memory
  uint32_t counts[kBins];
  uint32_t of_warp[kBlockThreads / kWarp];
  uint32_t bin;
  uint32_t above;
};

// value(i) for i below `count`, each time the same. All threads of the block call it, and all get the result. Requires:
// 1 <= rank <= count; a barrier since `space` was used otherwise. Ends with a barrier.
template <typename Value>
EVOKE_DEVICE uint32_t SelectLargest(Value value, uint32_t count, uint32_t rank, SelectSpace* space) {
  const uint32_t thread = ThreadIndex();
  const uint32_t lane = thread % kWarp;
  const uint32_t warp = thread / kWarp;
  uint32_t found = 0;  // the high bytes of the result
  for (uint32_t pass = 0; pass < 4; ++pass) {
    const uint32_t shift = 24 - 8 * pass;
    const uint32_t known = pass == 0 ? 0 : 0xffffffffu << (shift + 8);
    space->counts[thread] = 0;
    Sync();
    for (uint32_t i = thread; i < count; i += kBlockThreads) {
      const uint32_t v = value(i);
      if ((v & known) == found) AtomicAdd(&space->counts[v >> shift & (kBins - 1)], 1);
    }
    Sync();
    // Of each bin and all above it: of those of the warp, then of the warps.
    const uint32_t mine = space->counts[thread];
    uint32_t sum = mine;
    EVOKE_UNROLL
    for (uint32_t reach = 1; reach < kWarp; reach *= 2) {
      const uint32_t more = Shuffle(sum, (lane + reach) % kWarp);
      if (lane + reach < kWarp) sum += more;
    }
    if (lane == 0) space->of_warp[warp] = sum;
    Sync();
    for (uint32_t w = warp + 1; w < kBlockThreads / kWarp; ++w) sum += space->of_warp[w];
    if (sum - mine < rank && rank <= sum) {  // one thread's
      space->bin = thread;
      space->above = sum - mine;
    }
    Sync();
    found |= space->bin << shift;
    rank -= space->above;
  }
  Sync();
  return found;
}

}  // namespace evoke::gpu
