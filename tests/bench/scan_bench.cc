// Searches of one index, in process: milliseconds a batch by index, instruction set, keys, dimension and rows.
//
//   build/release/bench/scan_bench --benchmark_filter=flat --benchmark_format=json
//   EVOKE_BENCH_SMOKE=1                smaller: what CI runs
//
// Random unit keys, 256 wanted (of 4,096 keys: 16), two threads. `tests/bench/compare` puts such numbers beside FAISS and
// the machine's floor.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/base/thread_pool.h"
#include "server/index/index_factory.h"
#include "server/index/scan_paths.h"
#include "server/memory/slot_table.h"
#include "server/similarity/similarity.h"
#include "tests/testing/random_log.h"

namespace evoke {
namespace {

bool Smoke() { return std::getenv("EVOKE_BENCH_SMOKE") != nullptr; }

std::vector<float> RandomUnits(uint64_t seed, uint32_t count, uint32_t dim) {
  testing::RandomBits bits(seed);
  std::vector<float> rows(size_t{count} * dim);
  for (uint32_t i = 0; i < count; ++i) {
    float* row = rows.data() + size_t{i} * dim;
    for (uint32_t e = 0; e < dim; ++e) {  // near enough to normal
      row[e] = static_cast<float>(bits.Between(-1000, 1000) + bits.Between(-1000, 1000) + bits.Between(-1000, 1000));
    }
    Normalise(row, static_cast<int>(dim), row);
  }
  return rows;
}

const SlotTable& Table(uint32_t count, uint32_t dim) {
  static std::map<std::pair<uint32_t, uint32_t>, std::unique_ptr<SlotTable>> tables;
  auto& table = tables[{count, dim}];
  if (!table) {
    table = std::make_unique<SlotTable>(*SlotTable::Create(count, dim));
    const std::vector<float> keys = RandomUnits(1, count, dim);
    for (uint32_t p = 0; p < count; ++p) table->Set(p, {}, {keys.data() + size_t{p} * dim, dim});
  }
  return *table;
}

void Search(benchmark::State& state, const std::string& name) {
  const auto count = static_cast<uint32_t>(state.range(0));
  const auto dim = static_cast<uint32_t>(state.range(1));
  const auto rows = static_cast<uint32_t>(state.range(2));
  const SlotTable& table = Table(count, dim);
  const KeyMatrixView view{.planes = table.keys(),
                           .dim = dim,
                           .rows = table.rows(),
                           .live = table.live_words(),
                           .live_count = table.live_count()};
  ThreadPool pool("compute", 2);
  const Parallel parallel = [&](size_t n, const std::function<void(size_t)>& body) { ParallelFor(&pool, 2, n, body); };
  const auto index = *CreateIndex(name, {.dim = dim, .capacity = count, .parallel = parallel});
  index->Rebuild(view);
  const std::vector<float> embeddings = RandomUnits(2, rows, dim);
  const std::vector<uint32_t> want(rows, count > 4096 ? 256 : 16);
  for (auto _ : state) benchmark::DoNotOptimize(index->Search(view, embeddings.data(), want));
  state.counters["uncertified"] = static_cast<double>(index->stats().uncertified_rows);
  state.counters["gflops"] = benchmark::Counter(2e-9 * count * dim * rows, benchmark::Counter::kIsIterationInvariantRate);
}

void SearchOn(benchmark::State& state, ScanPath path) {
  const ScopedScanPath scoped(path);
  Search(state, "flat");
}

void Register() {
  const std::vector<int64_t> counts = Smoke() ? std::vector<int64_t>{20'000} : std::vector<int64_t>{4096, 8192, 65'536, 524'288};
  const auto shapes = [&](benchmark::internal::Benchmark* b) {
    for (const int64_t count : counts) {
      for (const int64_t rows : {1, 8, 16, 64, 256}) b->Args({count, 128, rows});
    }
    b->ArgNames({"keys", "dim", "rows"})->Unit(benchmark::kMillisecond)->UseRealTime()->MeasureProcessCPUTime();
  };
  for (const ScanPath path : AvailableScanPaths()) {
    shapes(benchmark::RegisterBenchmark(("flat/" + std::string(Name(path))).c_str(), SearchOn, path));
  }
  for (const std::string name : {"canonical", "faiss_flat"}) {
    shapes(benchmark::RegisterBenchmark(name.c_str(), Search, name));
  }
}

}  // namespace
}  // namespace evoke

int main(int argc, char** argv) {
  evoke::Register();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
