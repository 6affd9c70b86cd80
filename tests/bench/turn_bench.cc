// Train steps a second of a memory on its store, without gRPC: what a commit costs those who wait for it, and what is
// left of that when the next turn is worked on meanwhile.
//
//   turn_bench --benchmark_format=json     65,536 x 128, clients that each wait for their reply
//   EVOKE_BENCH_SMOKE=1                    1,024 slots and few steps: what CI runs
//   EVOKE_BENCH_DIR=DIR                    where the stores lie; else the temporary folder, which may be no disk
//
// Arguments: slots, clients, rows of a step. Four memories, WAL and FSYNC, each with one turn in flight (none overlaps its
// commit) and with two, are trained in turn, a few steps at a time, so that what else the machine does strikes all of them;
// told are medians of the rounds, what share of WAL's steps FSYNC makes, and what overlapping makes of FSYNC's.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "server/base/check.h"
#include "server/base/thread_pool.h"
#include "server/engine/await.h"
#include "server/engine/memory_executor.h"
#include "server/similarity/similarity.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/testing/random_log.h"

namespace evoke {
namespace {

bool Smoke() { return std::getenv("EVOKE_BENCH_SMOKE") != nullptr; }

constexpr uint32_t kDim = 128;
const MemoryUid kUid = MemoryUid::FromView("turn-bench-memry");

std::vector<float> RandomUnits(testing::RandomBits* bits, size_t rows) {
  std::vector<float> units(rows * kDim);
  for (float& c : units) c = static_cast<float>(bits->Between(-1000, 1000));
  for (size_t r = 0; r < rows; ++r) Normalise(&units[r * kDim], kDim, &units[r * kDim]);
  return units;
}

// A full memory being served, and clients that train it.
class Trained {
 public:
  Trained(Durability durability, uint64_t slots, uint32_t turns_in_flight) {
    const char* dir = std::getenv("EVOKE_BENCH_DIR");
    path_ = (dir ? std::filesystem::path(dir) : std::filesystem::temp_directory_path()) /
            ("turn-bench-" + std::to_string(::getpid()) + "-" + std::to_string(static_cast<int>(durability)) + "-" +
             std::to_string(turns_in_flight));
    spec_.capacity = slots;
    spec_.durability = durability == Durability::kFsync ? SpecDurability::kFsync : SpecDurability::kWal;
    executor_ = MemoryExecutor::Create({.name = "bench",
                                        .uid = kUid,
                                        .spec = spec_,
                                        .engine = {.turns_in_flight = turns_in_flight},
                                        .compute = &compute_,
                                        .io = &io_,
                                        .clock = &clock_,
                                        .cores = 2,
                                        .open_store = [this, durability](bool) { return Open(durability); }});
    executor_->Recover();
    EVOKE_CHECK(executor_->figures().state == MemoryState::kServing);
    Fill();
  }
  ~Trained() {
    std::atomic<bool> closed{false};
    executor_->Close(absl::UnavailableError("the benchmark is over"), [&] {
      closed = true;
      closed.notify_all();
    });
    closed.wait(false);
    executor_.reset();
    EVOKE_CHECK(RocksDbSlotStore::Destroy(path_.string()).ok());
  }

  // `steps` train steps, shared by so many clients; each waits for its reply before it sends the next.
  void Train(int64_t clients, uint32_t rows, int64_t steps) {
    left_ = steps;
    running_ = clients;
    while (static_cast<int64_t>(numbers_.size()) < clients) numbers_.push_back(0);
    for (int64_t c = 0; c < clients; ++c) Send(c, rows);
    MutexLock lock(&mu_);
    while (running_ > 0) done_.Wait(&mu_);
  }

 private:
  absl::StatusOr<std::unique_ptr<SlotStore>> Open(Durability durability) {
    auto store = RocksDbSlotStore::Open({.path = path_.string(),
                                         .uid = kUid,
                                         .key_dim = kDim,
                                         .partitions = spec_.partitions,
                                         .payload_history = spec_.payload_history,
                                         .durability = durability,
                                         .spec_digest = SpecDigest(spec_),
                                         .create = true});
    if (!store.ok()) return store.status();
    return absl::StatusOr<std::unique_ptr<SlotStore>>(*std::move(store));
  }

  void Fill() {
    const uint64_t chunk = std::min<uint64_t>(4096, spec_.capacity);
    for (uint64_t i = 0; i < spec_.capacity; i += chunk) {
      const std::vector<float> units = RandomUnits(&bits_, chunk);
      ImportCall call{.mutation = MutationId{.session = SessionId::FromView(std::string(16, 'i')),
                                             .number = 1 + i / chunk,
                                             .first_unacknowledged = 1 + i / chunk}};
      for (uint64_t r = 0; r < chunk; ++r) {
        call.rows.push_back({.value = static_cast<int64_t>((i + r) / 2),
                             .key = {units.begin() + r * kDim, units.begin() + (r + 1) * kDim}});
      }
      call.encode = [](const ImportReply&) { return std::string("imported"); };
      EVOKE_CHECK(Await<std::string>(*executor_, std::move(call)).ok());
    }
  }

  void Send(int64_t client, uint32_t rows) {
    const uint64_t number = ++numbers_[client];
    ObserveCall call{.form = ObserveForm::kGradient};
    call.rows.dim = kDim;
    {
      MutexLock lock(&mu_);
      call.rows.unit = RandomUnits(&bits_, rows);
      for (uint32_t r = 0; r < rows; ++r) call.values.push_back(bits_.Between(0, 30000));
    }
    call.rows.norms.assign(rows, 1);
    call.rows.skip.assign(rows, 0);
    call.write.assign(rows, 1);
    call.mutation = MutationId{.session = SessionId::FromView(std::string(16, static_cast<char>('a' + client))),
                               .number = number,
                               .first_unacknowledged = number};
    call.encode = [](const ObserveReply& reply) { return std::string(reply.gradients.size() * sizeof(float), 'r'); };
    call.done = [this, client, rows](absl::StatusOr<std::string> reply) {
      EVOKE_CHECK(reply.ok());
      if (left_.fetch_sub(1) > 1) return Send(client, rows);
      MutexLock lock(&mu_);
      if (--running_ == 0) done_.SignalAll();
    };
    Task task{.client = static_cast<uint64_t>(client), .call = std::move(call)};
    executor_->Submit(std::move(task));
  }

  MemorySpec spec_{.key_dim = kDim};
  std::filesystem::path path_;
  RealClock clock_;
  ThreadPool compute_{"compute", 2};
  ThreadPool io_{"io", 2};
  std::shared_ptr<MemoryExecutor> executor_;
  std::vector<uint64_t> numbers_;  // of each client's session
  std::atomic<int64_t> left_{0};
  Mutex mu_;
  CondVar done_;
  testing::RandomBits bits_ ABSL_GUARDED_BY(mu_){1};
  int64_t running_ ABSL_GUARDED_BY(mu_) = 0;
};

double Median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

void TrainSteps(benchmark::State& state) {
  const uint64_t slots = Smoke() ? 1024 : static_cast<uint64_t>(state.range(0));
  const int64_t clients = state.range(1);
  const auto rows = static_cast<uint32_t>(state.range(2));
  const int64_t steps = clients * (Smoke() ? 2 : std::max<int64_t>(4, 64 / rows));
  Trained memories[] = {{Durability::kWal, slots, 1},
                        {Durability::kFsync, slots, 1},
                        {Durability::kWal, slots, 2},
                        {Durability::kFsync, slots, 2}};
  std::vector<double> rates[std::size(memories)];
  for (Trained& memory : memories) memory.Train(clients, rows, steps);
  for (auto _ : state) {
    for (size_t m = 0; m < std::size(memories); ++m) {
      const auto began = std::chrono::steady_clock::now();
      memories[m].Train(clients, rows, steps);
      rates[m].push_back(static_cast<double>(steps) /
                         std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    }
  }
  const double wal_alone = Median(rates[0]), fsync_alone = Median(rates[1]), wal = Median(rates[2]), fsync = Median(rates[3]);
  state.counters["wal_alone"] = wal_alone;
  state.counters["fsync_alone"] = fsync_alone;
  state.counters["wal"] = wal;
  state.counters["fsync"] = fsync;
  state.counters["share_alone"] = fsync_alone / wal_alone;
  state.counters["share"] = fsync / wal;
  state.counters["fsync_gain"] = fsync / fsync_alone;
}
BENCHMARK(TrainSteps)
    ->ArgNames({"slots", "clients", "rows"})
    ->ArgsProduct({{8192, 65536}, {1, 8}, {1, 16, 64}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(Smoke() ? 1 : 15);

}  // namespace
}  // namespace evoke

BENCHMARK_MAIN();
