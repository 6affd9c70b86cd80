// Before and after the scan, a block a row: its first threshold, and its answer from the list of what reached it.
//
// DecideKernel is the argument of server/index/certified_scan.h, said of one row. Its list holds *all* keys with a rough
// score s~ of at least the threshold T, unless it overflowed. Let t~ be the want-th best score in it.
//
//   it overflowed                  `want` keys score t~ or more, so no key of the answer scores below t~ - margin: try that
//   fewer than `want` in it        nothing is known of the want-th best
//   T > t~ - margin                t~ is the want-th best of all keys; but an answer may lie between: try t~ - margin
//   else                           certified: every key of the answer is in the list, and has s~ >= t~ - margin
//
// Those are scored canonically, four threads a key: element e goes to accumulator e mod 16 in ascending order, and the
// tree is that of server/similarity/similarity_portable.cc, so the bits are the CPU's.
#pragma once

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/primitives.h"
#include "server/index/gpu/select.cuh"

namespace evoke::gpu {

EVOKE_DEVICE void BeginKernel(const BeginArgs& args) {
  SelectSpace* const space = reinterpret_cast<SelectSpace*>(SharedMemory());
  const RowArgs row = args.rows[BlockIndex()];
  float threshold = row.threshold;
  if (row.rank > 0) {
    const float* const maxima = args.maxima + row.maxima;
    const float guess =
        FromOrdered(SelectLargest([&](uint32_t i) { return Ordered(maxima[i]); }, row.groups, row.rank, space));
    // Of groups without a live key there is no score.
    threshold = guess == FloatOf(0xff800000u) ? guess : Below(guess, row.margin);
  }
  if (ThreadIndex() == 0) {
    args.thresholds[BlockIndex()] = row.want > 0 ? threshold : FloatOf(0x7f800000u);
    args.counts[BlockIndex()] = 0;
  }
}

// Answers as whole numbers in the order of server/similarity/rank.h. The two zeros are equal there, so that which of them
// it was lies in the lowest bit, below the position.
EVOKE_DEVICE uint64_t RankOf(float similarity, uint32_t position) {
  const bool is_zero = similarity == 0;
  const uint32_t descending = ~Ordered(is_zero ? 0.0f : similarity);
  const uint32_t negative_zero = is_zero ? BitsOf(similarity) >> 31 : 0;
  return uint64_t{descending} << 32 | uint64_t{position} << 1 | negative_zero;
}
EVOKE_DEVICE Answer AnswerOf(uint64_t rank) {
  const float similarity = FromOrdered(~static_cast<uint32_t>(rank >> 32));
  const auto low = static_cast<uint32_t>(rank);
  return {low >> 1, (low & 1) != 0 ? FloatOf(0x80000000u) : similarity};
}

struct alignas(8) FourHigh {
  uint16_t of[4];
};
struct alignas(8) FourLow {
  int16_t of[4];
};

// Of a row in shared memory and a key, for four neighboring threads, `part` 0 to 3 of which has accumulators 4 part ...
// 4 part + 3. Part 0 gets the similarity; all lanes of the warp call it.
EVOKE_DEVICE float QuadSimilarity(const float* row, const Planes& keys, uint32_t position, uint32_t part) {
  const uint16_t* const high = keys.high + size_t{position} * keys.stride + part * 4;
  const int16_t* const low = keys.low + size_t{position} * keys.stride + part * 4;
  float sums[4] = {};
  EVOKE_UNROLL
  for (uint32_t e = 0; e < keys.stride; e += kAccumulators) {
    const FourHigh h = *reinterpret_cast<const FourHigh*>(high + e);
    const FourLow l = *reinterpret_cast<const FourLow*>(low + e);
    EVOKE_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const float key = FloatOf((uint32_t{h.of[i]} << 16) + static_cast<uint32_t>(int32_t{l.of[i]}));
      sums[i] = Fma(row[e + part * 4 + i], key, sums[i]);
    }
  }
  EVOKE_UNROLL
  for (uint32_t apart = 2; apart > 0; apart /= 2) {  // 16 to 8 sums, 8 to 4
    EVOKE_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      sums[i] = Add(sums[i], FloatOf(Shuffle(BitsOf(sums[i]), ThreadIndex() % kWarp ^ apart)));
    }
  }
  return Add(Add(sums[0], sums[2]), Add(sums[1], sums[3]));
}

// Ascending. Requires: `size` is a power of two, and a barrier since the items were written. Ends with a barrier.
EVOKE_DEVICE void SortItems(uint64_t* items, uint32_t size) {
  for (uint32_t run = 2; run <= size; run *= 2) {  // bitonic: runs of this length become sorted, up and down in turn
    for (uint32_t apart = run / 2; apart > 0; apart /= 2) {
      for (uint32_t i = ThreadIndex(); i < size / 2; i += kBlockThreads) {
        const uint32_t low = 2 * i - (i & (apart - 1));
        const uint64_t a = items[low];
        const uint64_t b = items[low + apart];
        if ((a > b) == ((low & run) == 0)) {
          items[low] = b;
          items[low + apart] = a;
        }
      }
      // While items are at most a warp apart, each warp keeps to 64 neighbors, the same ones.
      const uint32_t next = apart > 1 ? apart / 2 : run;
      if (apart > kWarp || next > kWarp || next == size) {
        Sync();
      } else {
        SyncWarp();
      }
    }
  }
}

struct DecideSpace {  // in shared memory; then `capacity` items, then the row
  SelectSpace select;
  uint32_t kept;
  uint32_t unused;
};
static_assert(sizeof(DecideSpace) % 16 == 0);

inline constexpr size_t DecideSharedBytes(uint32_t capacity, uint32_t stride) {
  return sizeof(DecideSpace) + size_t{capacity} * sizeof(uint64_t) + size_t{stride} * sizeof(float);
}

EVOKE_DEVICE void DecideKernel(const DecideArgs& args) {
  DecideSpace* const space = reinterpret_cast<DecideSpace*>(SharedMemory());
  uint64_t* const items = reinterpret_cast<uint64_t*>(space + 1);
  float* const embedding = reinterpret_cast<float*>(items + args.capacity);
  const uint32_t thread = ThreadIndex();
  const uint32_t block = BlockIndex();
  const RowArgs row = args.rows[block];
  const float threshold = args.thresholds[block];
  const uint32_t count = args.counts[block];
  const uint32_t listed = count < args.capacity ? count : args.capacity;
  const Found* const list = args.found + size_t{block} * args.capacity;
  if (row.want == 0 || listed < row.want) {
    if (thread == 0) args.outcomes[block] = {Decision::kTooHigh, FloatOf(0x7fc00000u), threshold, count};
    return;
  }
  const float last = FromOrdered(
      SelectLargest([&](uint32_t i) { return Ordered(list[i].score); }, listed, row.want, &space->select));
  const float needed = Below(last, row.margin);
  const Decision decision =
      count > listed ? Decision::kTooMany : threshold > needed ? Decision::kTooHigh : Decision::kCertified;
  if (decision != Decision::kCertified) {
    if (thread == 0) args.outcomes[block] = {decision, needed, threshold, count};
    return;
  }

  if (thread == 0) space->kept = 0;
  for (uint32_t e = thread; e < args.keys.stride; e += kBlockThreads) {
    embedding[e] = args.embeddings[size_t{block} * args.keys.stride + e];
  }
  Sync();
  for (uint32_t i = thread; i < listed; i += kBlockThreads) {
    if (list[i].score >= needed) items[AtomicAdd(&space->kept, 1)] = list[i].position;
  }
  Sync();
  const uint32_t kept = space->kept;
  uint32_t size = 1;
  while (size < kept) size *= 2;
  constexpr uint32_t kQuads = kBlockThreads / 4;
  for (uint32_t first = 0; first < size; first += kQuads) {
    const uint32_t i = first + thread / 4;
    // Those beyond the end go along, since warps stay together.
    const uint32_t position = i < kept ? static_cast<uint32_t>(items[i]) : 0;
    const float similarity = QuadSimilarity(embedding, args.keys, position, thread % 4);
    if (thread % 4 == 0 && i < size) items[i] = i < kept ? RankOf(similarity, position) : ~uint64_t{0};
  }
  Sync();
  SortItems(items, size);
  for (uint32_t i = thread; i < row.want; i += kBlockThreads) args.results[row.result + i] = AnswerOf(items[i]);
  if (thread == 0) args.outcomes[block] = {Decision::kCertified, needed, threshold, count};
}

}  // namespace evoke::gpu
