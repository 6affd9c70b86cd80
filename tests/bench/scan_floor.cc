// The floor of a run: bandwidth, the rate of a register-only loop, and the cost of a scattered canonical similarity.
#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "server/index/scan_paths.h"
#include "server/similarity/similarity.h"
#include "server/similarity/split_vector.h"
#include "tests/bench/register_loops.h"
#include "tests/bench/scan_peers.h"

namespace evoke::bench {
namespace {

// body(thread) on all threads at once; seconds of the slowest, the best of a few rounds. Each should take some tens of
// milliseconds: that long new threads may share a core before the kernel moves one of them.
template <typename Body>
double Fastest(size_t threads, Body body) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> all;
    for (size_t t = 0; t < threads; ++t) all.emplace_back([&, t] { body(t); });
    for (std::thread& thread : all) thread.join();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace

Floor MeasureFloor(const Data& data, size_t threads) {
  Floor floor;
  // At least 128 MiB, which no cache of two threads holds for long.
  const size_t words = std::max<size_t>(data.keys.size() / 4, size_t{16} << 20);
  std::vector<uint64_t> memory(words, 1);
  std::vector<uint64_t> sums(threads);
  constexpr int kReads = 10;
  const double read = Fastest(threads, [&](size_t t) {
    const size_t from = words * t / threads;
    for (int i = 0; i < kReads; ++i) sums[t] += SumOf(memory.data() + from, words * (t + 1) / threads - from);
  });
  floor.bytes_per_second = static_cast<double>(kReads * words * sizeof(uint64_t)) / read;

  constexpr uint64_t kLoops = 20'000'000;
  double flops = 0;
  const double loop = Fastest(threads, [&](size_t t) {
    const double mine = RunRegisterLoop(ActiveScanPath(), kLoops);
    if (t == 0) flops = mine;
  });
  floor.flops = flops * static_cast<double>(threads) / loop;

  constexpr size_t kRescored = 200'000;
  const int dim = static_cast<int>(data.d);
  std::vector<uint16_t> high(data.keys.size());
  std::vector<int16_t> low(data.keys.size());
  for (uint32_t i = 0; i < data.n; ++i) {
    const size_t at = size_t{i} * data.d;
    Split(data.keys.data() + at, dim, high.data() + at, low.data() + at);
  }
  const double rescore = Fastest(threads, [&](size_t t) {
    std::mt19937_64 random(t);
    std::vector<SplitVector> rows(kRescored);
    for (SplitVector& row : rows) {
      const size_t at = size_t{random() % data.n} * data.d;
      row = {high.data() + at, low.data() + at};
    }
    std::vector<float> out(kRescored);
    SimilarityGather(data.rows.data(), rows, dim, out.data());
  });
  floor.seconds_a_rescored = rescore / static_cast<double>(kRescored * threads);
  return floor;
}

void Floor::Take(const Floor& other) {
  bytes_per_second = std::max(bytes_per_second, other.bytes_per_second);
  flops = std::max(flops, other.flops);
  seconds_a_rescored = std::min(seconds_a_rescored, other.seconds_a_rescored);
}

double Floor::Seconds(uint32_t n, uint32_t d, uint32_t k, uint32_t batch) const {
  const double bytes = 2.0 * n * d;
  const double operations = 2.0 * n * d * batch;
  constexpr double kSurvivors = 1.4;  // of the keys that are wanted: 360 of 256
  return std::max(bytes / bytes_per_second, operations / flops) + kSurvivors * k * batch * seconds_a_rescored;
}

}  // namespace evoke::bench
