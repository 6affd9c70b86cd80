// What a commit costs with other options of RocksDB than those that stores have (storage/rocksdb_options.cc), and how
// long it can take while compactions keep up with it.
//
//   commit_bench --benchmark_filter=Commit --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
//   EVOKE_BENCH_MINUTES=60 commit_bench --benchmark_filter=Stalls/chosen/WAL
//   EVOKE_BENCH_SMOKE=1              small, and one variant: what CI runs
//
// Commit: commits of 64 rows x 128 into 524,288 slots, one after the other, every variant with a store of its own;
// `own_cpu_us` is of the committing thread
// (median); `cpu_us` and `amplification` hold the background's work too, which is waited for. Stalls: the same at half the rate
// that the store reaches, for minutes; `machine_stall_ms` is the longest that a thread which does nothing but sleep
// was late meanwhile: what a busy machine adds to anybody.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "absl/time/clock.h"
#include "rocksdb/db.h"
#include "rocksdb/statistics.h"
#include "rocksdb/table.h"
#include "server/base/check.h"
#include "tests/bench/full_store.h"

namespace evoke::bench {
namespace {

using Tune = void (*)(rocksdb::Options*);

void BlockSize(rocksdb::Options* db, size_t bytes) {
  db->table_factory->GetOptions<rocksdb::BlockBasedTableOptions>()->block_size = bytes;
}

struct Variant {
  const char* name;
  Tune tune;
};
const Variant kVariants[] = {
    {"chosen", [](rocksdb::Options*) {}},
    {"no_preallocation", [](rocksdb::Options* db) { db->allow_fallocate = false; }},
    {"wal_bytes_per_sync", [](rocksdb::Options* db) { db->wal_bytes_per_sync = 1 << 20; }},
    {"no_bytes_per_sync", [](rocksdb::Options* db) { db->bytes_per_sync = 0; }},
    {"buffer_16m", [](rocksdb::Options* db) { db->write_buffer_size = 16 << 20; }},
    {"buffer_32m", [](rocksdb::Options* db) { db->write_buffer_size = 32 << 20; }},
    {"buffer_128m", [](rocksdb::Options* db) { db->write_buffer_size = 128 << 20; }},
    {"merge_2_buffers", [](rocksdb::Options* db) { db->min_write_buffer_number_to_merge = 2; }},
    {"one_writer", [](rocksdb::Options* db) { db->allow_concurrent_memtable_write = false; }},
    {"universal", [](rocksdb::Options* db) { db->compaction_style = rocksdb::kCompactionStyleUniversal; }},
    {"l0_2", [](rocksdb::Options* db) { db->level0_file_num_compaction_trigger = 2; }},
    {"l0_8", [](rocksdb::Options* db) { db->level0_file_num_compaction_trigger = 8; }},
    {"blobs",
     [](rocksdb::Options* db) {
       db->enable_blob_files = true;
       db->min_blob_size = 16 << 10;
       db->enable_blob_garbage_collection = true;
       db->blob_garbage_collection_age_cutoff = 0.5;
     }},
    {"block_4k", [](rocksdb::Options* db) { BlockSize(db, 4 << 10); }},
    {"block_64k", [](rocksdb::Options* db) { BlockSize(db, 64 << 10); }},
    {"no_bloom",
     [](rocksdb::Options* db) {
       db->table_factory->GetOptions<rocksdb::BlockBasedTableOptions>()->filter_policy.reset();
     }},
    {"direct_io", [](rocksdb::Options* db) { db->use_direct_io_for_flush_and_compaction = true; }},
    {"deletes_behind", [](rocksdb::Options* db) { db->avoid_unnecessary_blocking_io = true; }},
};

MemorySpec SpecOf(SpecDurability durability) {
  return {.key_dim = 128, .capacity = Smoke() ? 4096u : 524'288u, .durability = durability};
}

// A store with a variant's options, and what RocksDB counted of it.
class Subject {
 public:
  Subject(const Variant& variant, SpecDurability durability)
      : statistics_(rocksdb::CreateDBStatistics()),
        store_({.path = folder_.path() + "/store",
                .spec = SpecOf(durability),
                .rocksdb = {.tune = [tune = variant.tune, statistics = statistics_](rocksdb::Options* db) {
                  tune(db);
                  db->statistics = statistics;
                }}}) {}

  FullStore& store() { return store_; }
  uint64_t BytesWritten() const {
    return statistics_->getTickerCount(rocksdb::WAL_FILE_BYTES) + statistics_->getTickerCount(rocksdb::FLUSH_WRITE_BYTES) +
           statistics_->getTickerCount(rocksdb::COMPACT_WRITE_BYTES) +
           statistics_->getTickerCount(rocksdb::BLOB_DB_BLOB_FILE_BYTES_WRITTEN);
  }
  uint64_t StallMicros() const { return statistics_->getTickerCount(rocksdb::STALL_MICROS); }
  // Until flushes and compactions have nothing more to do: they wrote nothing for a while.
  void AwaitQuiet() {
    for (uint64_t before = ~uint64_t{0}; before != BytesWritten();) {
      before = BytesWritten();
      absl::SleepFor(absl::Milliseconds(300));
    }
  }

 private:
  Folder folder_;
  std::shared_ptr<rocksdb::Statistics> statistics_;
  FullStore store_;
};

double CpuMicros() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& t) { return 1e6 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec); };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

// Sorts, and puts the usual quantiles among the counters.
void Report(std::vector<double> ms, benchmark::State& state) {
  std::sort(ms.begin(), ms.end());
  const auto quantile = [&](double q) { return ms[static_cast<size_t>(q * static_cast<double>(ms.size() - 1))]; };
  state.counters["p10_ms"] = quantile(0.1);
  state.counters["p50_ms"] = quantile(0.5);
  state.counters["p99_ms"] = quantile(0.99);
  state.counters["p999_ms"] = quantile(0.999);
  state.counters["max_ms"] = ms.back();
  state.counters["above_50ms"] = static_cast<double>(ms.end() - std::upper_bound(ms.begin(), ms.end(), 50.0));
}

// Kept between repetitions, which are interleaved. RocksDB's own statics go before these would: main clears it.
std::map<std::pair<const Variant*, SpecDurability>, std::unique_ptr<Subject>>& Subjects() {
  static auto& subjects = *new std::map<std::pair<const Variant*, SpecDurability>, std::unique_ptr<Subject>>;
  return subjects;
}

void Commit(benchmark::State& state, const Variant* variant, SpecDurability durability) {
  std::unique_ptr<Subject>& subject = Subjects()[{variant, durability}];
  if (subject == nullptr) {
    subject = std::make_unique<Subject>(*variant, durability);
    // As a store is after a while: files of overwritten rows in every level.
    for (int i = 0; i < (Smoke() ? 10 : 3000); ++i) subject->store().Overwrite();
  }
  subject->AwaitQuiet();
  const uint64_t written = subject->BytesWritten();
  const double cpu = CpuMicros();
  std::vector<double> ms, own;
  for (auto _ : state) {
    const FullStore::Cost cost = subject->store().Overwrite();
    ms.push_back(absl::ToDoubleMilliseconds(cost.time));
    own.push_back(absl::ToDoubleMicroseconds(cost.cpu));
    state.SetIterationTime(absl::ToDoubleSeconds(cost.time));
  }
  subject->AwaitQuiet();
  std::nth_element(own.begin(), own.begin() + own.size() / 2, own.end());
  state.counters["own_cpu_us"] = own[own.size() / 2];
  const double commits = static_cast<double>(ms.size());
  state.counters["cpu_us"] = (CpuMicros() - cpu) / commits;
  state.counters["amplification"] = static_cast<double>(subject->BytesWritten() - written) /
                                    (commits * static_cast<double>(subject->store().turn_bytes()));
  Report(std::move(ms), state);
}

// How late a thread is that sleeps 2 ms at a time.
class MachineStall {
 public:
  ~MachineStall() { stop_ = true; thread_.join(); }
  double longest_ms() const { return longest_ms_; }

 private:
  void Run() {
    while (!stop_) {
      const absl::Time begin = absl::Now();
      absl::SleepFor(absl::Milliseconds(2));
      longest_ms_ = std::max(longest_ms_.load(), absl::ToDoubleMilliseconds(absl::Now() - begin) - 2);
    }
  }
  std::atomic<bool> stop_ = false;
  std::atomic<double> longest_ms_ = 0;
  std::thread thread_{[this] { Run(); }};
};

void Stalls(benchmark::State& state, const Variant* variant, SpecDurability durability) {
  const char* minutes = std::getenv("EVOKE_BENCH_MINUTES");
  const absl::Duration length = Smoke() ? absl::Seconds(1) : absl::Minutes(minutes ? std::atof(minutes) : 2);
  Subject subject(*variant, durability);
  FullStore& store = subject.store();
  // The rate that it keeps up, compactions and making the turns included.
  uint64_t warm = 0;
  const absl::Time began = absl::Now();
  const absl::Duration warming = std::min(length / 5, absl::Seconds(60));
  for (; absl::Now() - began < warming; ++warm) store.Overwrite();
  const absl::Duration interval = 2 * (absl::Now() - began) / static_cast<double>(warm);

  const uint64_t written = subject.BytesWritten();
  const uint64_t stalled = subject.StallMicros();
  const double cpu = CpuMicros();
  std::vector<double> ms;
  MachineStall machine;
  for (auto _ : state) {
    const absl::Time begin = absl::Now();
    absl::Time told = begin;
    for (absl::Time due = begin; due < begin + length; due += interval) {
      absl::SleepFor(due - absl::Now());
      ms.push_back(absl::ToDoubleMilliseconds(store.Overwrite().time));
      if (ms.back() > 50) {
        std::fprintf(stderr, "%s: %.0f ms after %.1f s; the machine so far: %.0f ms\n", variant->name, ms.back(),
                     absl::ToDoubleSeconds(absl::Now() - begin), machine.longest_ms());
      }
      if (absl::Now() - told > absl::Minutes(5)) {
        told = absl::Now();
        std::fprintf(stderr, "%s: %.0f minutes, %zu commits, longest %.1f ms, amplification %.2f\n", variant->name,
                     absl::ToDoubleMinutes(told - begin), ms.size(), *std::max_element(ms.begin(), ms.end()),
                     static_cast<double>(subject.BytesWritten() - written) /
                         (static_cast<double>(ms.size()) * static_cast<double>(store.turn_bytes())));
      }
    }
  }
  const double commits = static_cast<double>(ms.size());
  state.counters["commits"] = commits;
  state.counters["per_second"] = commits / absl::ToDoubleSeconds(length);
  state.counters["machine_stall_ms"] = machine.longest_ms();
  state.counters["rocksdb_stall_ms"] = static_cast<double>(subject.StallMicros() - stalled) / 1e3;
  state.counters["cpu_us"] = (CpuMicros() - cpu) / commits;
  state.counters["amplification"] = static_cast<double>(subject.BytesWritten() - written) /
                                    (commits * static_cast<double>(store.turn_bytes()));
  Report(std::move(ms), state);
  // As a crash would leave it: the log of the last memtable is replayed.
  store.Close();
  state.counters["open_ms"] = absl::ToDoubleMilliseconds(store.Open());
  state.counters["disk_mb"] = static_cast<double>(store.store()->ApproximateBytes()) / 1e6;
  const absl::Time scan = absl::Now();
  uint64_t rows = 0;
  for (uint32_t p = 0; p < store.spec().partitions; ++p) {
    EVOKE_CHECK(store.store()->ScanPartition(Partition(p), [&](const SlotRow&) { return ++rows, absl::OkStatus(); }).ok());
  }
  EVOKE_CHECK(rows == store.spec().capacity);
  state.counters["scan_ms"] = absl::ToDoubleMilliseconds(absl::Now() - scan);
}

void RegisterAll() {
  for (const Variant& variant : kVariants) {
    for (const SpecDurability durability : {SpecDurability::kWal, SpecDurability::kFsync}) {
      const std::string name = std::string(variant.name) + (durability == SpecDurability::kWal ? "/WAL" : "/FSYNC");
      benchmark::RegisterBenchmark(("Commit/" + name).c_str(), Commit, &variant, durability)
          ->Iterations(Smoke() ? 20 : 2000)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("Stalls/" + name).c_str(), Stalls, &variant, durability)
          ->Iterations(1)
          ->Unit(benchmark::kSecond);
      if (Smoke() && &variant != &kVariants[0]) return;
    }
  }
}

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::DescribeRun(argc, argv);
  evoke::bench::RegisterAll();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  evoke::bench::Subjects().clear();
  return 0;
}
