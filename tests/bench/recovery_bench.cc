// How long a memory takes from its opened store to its first turn, beside what the disk and RocksDB take of that: a
// bare scan of the same rows by one thread, with nothing done to them.
//
//   recovery_bench --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
//   EVOKE_BENCH_SMOKE=1              4,096 slots instead of 524,288: what CI runs
//
// Both read the same table files, which have been overwritten for a while. Not in it: replaying the log when the store
// is opened, which takes what was in the memtable (commit_bench, Stalls: open_ms).
#include <benchmark/benchmark.h>

#include <memory>

#include "rocksdb/db.h"
#include "rocksdb/table.h"
#include "server/base/check.h"
#include "server/base/thread_pool.h"
#include "server/engine/recovery.h"
#include "storage/key_layout.h"
#include "tests/bench/full_store.h"

namespace evoke::bench {
namespace {

MemorySpec Spec() { return {.key_dim = 128, .capacity = Smoke() ? 4096u : 524'288u, .durability = SpecDurability::kWal}; }

// One store for all benchmarks here; opened, with nothing of it in a memtable.
class Subject {
 public:
  Subject() : store_({.path = folder_.path() + "/store", .spec = Spec()}) {
    for (int i = 0; i < (Smoke() ? 10 : 4000); ++i) store_.Overwrite();
    store_.Close();
    store_.Open();
  }
  FullStore& store() { return store_; }
  std::string path() const { return folder_.path() + "/store"; }

 private:
  Folder folder_;
  FullStore store_;
};

std::unique_ptr<Subject>& TheSubject() {
  static auto& subject = *new std::unique_ptr<Subject>;
  if (subject == nullptr) subject = std::make_unique<Subject>();
  return subject;
}

void BareScan(benchmark::State& state) {
  const std::string path = TheSubject()->path();
  rocksdb::DB* opened = nullptr;
  rocksdb::Options options;
  options.max_open_files = 256;
  EVOKE_CHECK(rocksdb::DB::OpenForReadOnly(options, path, &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  const KeyRange range = KeyLayout::All(RowKind::kSlot);
  const rocksdb::Slice end(range.end);
  for (auto _ : state) {
    rocksdb::ReadOptions read;
    read.iterate_upper_bound = &end;
    read.fill_cache = false;
    read.readahead_size = 2 << 20;
    uint64_t rows = 0, bytes = 0;
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
    for (it->Seek(range.begin); it->Valid(); it->Next()) {
      ++rows;
      bytes += it->value().size();
    }
    EVOKE_CHECK(it->status().ok() && rows == Spec().capacity);
    benchmark::DoNotOptimize(bytes);
  }
}

void Recovery(benchmark::State& state) {
  FullStore& store = TheSubject()->store();
  ThreadPool pool("compute", static_cast<size_t>(state.range(0)));
  ThreadPool io("io", static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    absl::StatusOr<Recovered> recovered = Recover({.name = "m",
                                                   .spec = Spec(),
                                                   .engine = {},
                                                   .store = store.store(),
                                                   .compute = &pool,
                                                   .cores = pool.thread_count(),
                                                   .io = &io});
    EVOKE_CHECK(recovered.ok() && recovered->state.live_count == Spec().capacity);
    state.PauseTiming();  // giving the memory back is not part of it
    recovered = absl::CancelledError();
    state.ResumeTiming();
  }
}

BENCHMARK(BareScan)->UseRealTime()->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(Recovery)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime()->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::DescribeRun(argc, argv);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  evoke::bench::TheSubject().reset();
  return 0;
}
