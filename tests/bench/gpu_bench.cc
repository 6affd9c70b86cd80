// Searches of the indexes on a GPU, in process: queries a second by index, keys, dimension and rows, and how near that is
// to what the device could do.
//
//   build/gpu/bench/gpu_bench --n=524288 --d=128 --k=256 --batches=1,16,64,256,1024 --index=gpu --index=faiss_gpu
//
// Random unit keys. Prints one JSON object an index and batch; times are medians of rounds, from rows in the host's memory
// to candidates there. `update` rounds write as many keys as there are rows before each search, as a train step does.
// Without a GPU it says so and is done.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "server/base/thread_pool.h"
#include "server/index/device_search_factory.h"
#include "server/index/index_factory.h"
#include "server/similarity/similarity.h"
#include "server/similarity/split_vector.h"
#include "tests/bench/gpu_floor.h"

namespace evoke::bench {
namespace {

struct Options {
  uint32_t n = 524'288, d = 128, k = 256;
  std::vector<uint32_t> batches = {1, 16, 64, 256, 1024};
  std::vector<std::string> indexes = {"gpu", "faiss_gpu", "faiss_gpu_flat"};
  int device = 0;
  int rounds = 30;
  size_t threads = std::max(1u, std::thread::hardware_concurrency());
};

// A row of the sphere: sums of four evenly distributed numbers are near enough to normal ones.
void RandomUnit(uint64_t seed, uint32_t d, float* x) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (uint32_t e = 0; e < d; ++e) {
    state += 0x9e3779b97f4a7c15u;  // splitmix64
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    x[e] = static_cast<float>(static_cast<int64_t>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48)) - 131'070);
  }
  Normalise(x, static_cast<int>(d), x);
}

struct Keys {
  Keys(const Options& o, const Parallel& parallel)
      : high(size_t{o.n} * o.d + 64), low(size_t{o.n} * o.d + 64), live((o.n + 63) / 64, ~uint64_t{0}) {
    if (o.n % 64 != 0) live.back() = (uint64_t{1} << o.n % 64) - 1;
    constexpr uint32_t kPart = 8192;
    parallel((o.n + kPart - 1) / kPart, [&](size_t part) {
      std::vector<float> key(o.d);
      for (size_t p = part * kPart; p < std::min<size_t>(o.n, (part + 1) * kPart); ++p) {
        RandomUnit(p, o.d, key.data());
        Split(key.data(), static_cast<int>(o.d), &high[p * o.d], &low[p * o.d]);
      }
    });
    view = {{high.data(), low.data(), o.d}, o.d, o.n, live.data(), o.n};
  }
  std::vector<uint16_t> high;
  std::vector<int16_t> low;
  std::vector<uint64_t> live;
  KeyMatrixView view;
};

template <typename Work>
double MedianSeconds(int rounds, Work work) {
  std::vector<double> times;
  for (int round = -3; round < rounds; ++round) {  // the first are for warming up
    const auto begin = std::chrono::steady_clock::now();
    work();
    if (round >= 0) times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

int Run(const Options& o) {
  const auto devices = ListDevices();
  if (!devices.ok()) {
    std::cout << "no GPU: " << devices.status().message() << std::endl;
    return 0;
  }
  std::string device_name;
  for (const DeviceInfo& device : *devices) {
    if (device.number == o.device) device_name = device.name;
  }
  ThreadPool pool("bench", o.threads);
  const Parallel parallel = [&](size_t count, const std::function<void(size_t)>& body) {
    ParallelFor(&pool, o.threads, count, body);
  };
  const auto floor = MeasureGpuFloor(o.device);
  if (!floor.ok()) {
    std::cerr << floor.status() << '\n';
    return 1;
  }
  const Keys keys(o, parallel);
  const uint32_t most = *std::max_element(o.batches.begin(), o.batches.end());
  std::vector<float> rows(size_t{most} * o.d);
  for (uint32_t r = 0; r < most; ++r) RandomUnit(~uint64_t{r}, o.d, &rows[size_t{r} * o.d]);
  for (const std::string& name : o.indexes) {
    auto index = CreateIndex(name, {.dim = o.d, .capacity = o.n, .parallel = parallel, .device = o.device});
    if (!index.ok()) {
      std::cerr << index.status() << '\n';
      return 1;
    }
    (*index)->Rebuild(keys.view);
    for (const uint32_t batch : o.batches) {
      const std::vector<uint32_t> want(batch, o.k);
      const auto search = [&] { (void)(*index)->Search(keys.view, rows.data(), want); };
      const IndexStats before = (*index)->stats();
      const double searching = MedianSeconds(o.rounds, search);
      const IndexStats after = (*index)->stats();
      uint32_t next = 0;
      std::vector<uint32_t> written(std::min(batch, o.n));
      const double updating = MedianSeconds(o.rounds, [&] {
        for (uint32_t& position : written) position = next++ % o.n;
        std::sort(written.begin(), written.end());
        (*index)->Upsert(keys.view, written);
        search();
      });
      const double bytes = floor->BytesSeconds(o.n, o.d);
      const double flops = floor->FlopsSeconds(o.n, o.d, batch);
      const nlohmann::ordered_json row{{"index", name},
                                       {"device", device_name},
                                       {"cuda", CudaVersion()},
                                       {"n", o.n},
                                       {"d", o.d},
                                       {"k", o.k},
                                       {"batch", batch},
                                       {"ms", 1e3 * searching},
                                       {"queries_per_s", batch / searching},
                                       {"update_ms", 1e3 * updating},
                                       {"floor_bytes_ms", 1e3 * bytes},
                                       {"floor_flops_ms", 1e3 * flops},
                                       {"of_floor", std::max(bytes, flops) / searching},
                                       {"gb_per_s", floor->bytes_per_second / 1e9},
                                       {"tflops", floor->flops / 1e12},
                                       {"uncertified_rows", after.uncertified_rows - before.uncertified_rows},
                                       {"degraded", std::string((*index)->degraded())}};
      std::cout << row << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::Options o;
  CLI::App app("Searches of the indexes on a GPU, and the device's floor");
  app.add_option("--n", o.n, "keys")->check(CLI::Range(1u, 1u << 30));
  app.add_option("--d", o.d, "dimension")->check(CLI::Range(1, 4096));
  app.add_option("--k", o.k, "keys wanted");
  app.add_option("--batches", o.batches, "rows a search")->delimiter(',');
  app.add_option("--index", o.indexes, "index, may come several times");
  app.add_option("--device", o.device, "as the driver numbers them");
  app.add_option("--rounds", o.rounds)->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads, "of the CPU")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return evoke::bench::Run(o);
}
