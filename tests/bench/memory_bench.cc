// What a memory of full size allocates, and how many rows and list entries one update touches.
//
//   memory_bench                 524,288 x 128, and updates at 10,000 and 1,000,000 slots
//   EVOKE_BENCH_SMOKE=1          smaller by 64 and 16: what CI runs
//
// Counters: bytes allocated by the shard's tables and index, what the design allows (1.1 x the raw keys with the flat
// index, 2.1 x with FAISS flat, each plus 64 bytes a slot and 48 a distinct value), and the growth of the process's
// resident set beside it, so that the tables' own book-keeping is not all there is to believe.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "server/base/check.h"
#include "server/base/thread_pool.h"
#include "server/engine/local_shard.h"
#include "server/memory/write_rule.h"
#include "server/similarity/similarity.h"
#include "tests/testing/random_log.h"

namespace evoke {
namespace {

bool Smoke() { return std::getenv("EVOKE_BENCH_SMOKE") != nullptr; }

uint64_t ResidentBytes() {
  uint64_t total = 0, resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%lu %lu", &total, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return resident * 4096;
}

std::vector<float> RandomUnit(testing::RandomBits* bits, uint32_t dim) {
  std::vector<float> key(dim);
  for (float& c : key) c = static_cast<float>(bits->Between(-1000, 1000));
  Normalise(key.data(), static_cast<int>(dim), key.data());
  return key;
}

// One shard that owns a whole full memory: slot i was written at step i + 1, two slots a value.
std::unique_ptr<LocalShard> FullShard(const MemorySpec& spec, const char* index, Scheduler* scheduler) {
  LocalShard::Options options{.spec = spec, .index = index, .scheduler = scheduler, .width = 2};
  for (uint32_t p = 0; p < spec.partitions; ++p) options.partitions.push_back(Partition(p));
  auto shard = LocalShard::Create(std::move(options));
  EVOKE_CHECK(shard.ok());
  testing::RandomBits bits(1);
  for (uint64_t i = 0; i < spec.capacity; ++i) {
    const auto key = RandomUnit(&bits, spec.key_dim);
    EVOKE_CHECK((*shard)->Load(SlotId(i), static_cast<int64_t>(i / 2), Step(i + 1), 0, key).ok());
  }
  (*shard)->FinishLoad(Turn(0), Epoch(1));
  return *std::move(shard);
}

template <typename T, typename Call>
T Await(Call call) {
  Mutex mu;
  CondVar come;
  std::unique_ptr<absl::StatusOr<T>> answer;
  call([&](absl::StatusOr<T> a) {
    MutexLock lock(&mu);
    answer = std::make_unique<absl::StatusOr<T>>(std::move(a));
    come.SignalAll();
  });
  MutexLock lock(&mu);
  while (!answer) come.Wait(&mu);
  EVOKE_CHECK(answer->ok());
  return **std::move(answer);
}

void MemorySize(benchmark::State& state, const char* index, double allowed_keys) {
  const MemorySpec spec{.key_dim = 128, .capacity = Smoke() ? 8192u : 524288u};
  ThreadPool pool("compute", 2);
  const double raw = static_cast<double>(spec.capacity) * spec.key_dim * sizeof(float);
  for (auto _ : state) {
    const uint64_t before = ResidentBytes();
    const auto shard = FullShard(spec, index, &pool);
    const auto figures = Await<ShardFigures>([&](auto done) { shard->Figures(done); });
    state.counters["bytes"] = static_cast<double>(figures.memory_bytes);
    state.counters["of_raw_keys"] = figures.memory_bytes / raw;
    state.counters["allowed"] = allowed_keys * raw + 64.0 * spec.capacity + 48.0 * figures.distinct_values;
    state.counters["resident_growth"] = static_cast<double>(ResidentBytes() - before);
    if (figures.memory_bytes > state.counters["allowed"]) state.SkipWithError("more than the design allows");
  }
}
BENCHMARK_CAPTURE(MemorySize, flat, "flat", 1.1)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(MemorySize, faiss_flat, "faiss_flat", 2.1)->Iterations(1)->Unit(benchmark::kMillisecond);

// A miss on a full memory at age_noise 128: what the shard lists as oldest, what the choice walks, what Apply touches.
void UpdateTouches(benchmark::State& state) {
  const uint64_t slots = static_cast<uint64_t>(state.range(0)) / (Smoke() ? 16 : 1);
  const MemorySpec spec{.key_dim = 8, .capacity = slots, .age_noise = 128, .partitions = 1};
  ThreadPool pool("compute", 1);
  const auto shard = FullShard(spec, "flat", &pool);
  testing::RandomBits bits(2);
  const uint32_t listed = 9 + static_cast<uint32_t>(4 * std::sqrt(spec.age_noise));  // as the engine asks
  uint64_t turn = 0, walked = 0, in_list = 0, asked_again = 0;
  const uint64_t before = shard->rows_touched();
  for (auto _ : state) {
    ++turn;
    const uint64_t step = slots + turn;
    const auto proposal = Await<Proposal>([&](auto done) {
      shard->Propose({.at = {.epoch = Epoch(1), .term = Term(1), .turn = Turn(turn - 1)}, .oldest = listed}, done);
    });
    in_list += proposal.oldest.size();
    const auto key = RandomUnit(&bits, spec.key_dim);
    TurnView view(&spec, key, Step(step - 1));
    view.SetLive(slots);
    view.SetOldest(proposal.oldest, proposal.oldest_complete, listed);
    Need need;
    std::optional<SlotState> evicted;
    const auto any = [&](const SlotState&) { return ++walked > 0; };
    if (!ChooseEvicted(view, step, any, &evicted, &need)) {
      ++asked_again;  // the engine would ask for more; here the oldest slot serves
      evicted = proposal.oldest[0];
    }
    auto record = std::make_shared<TurnRecord>(TurnRecord{.epoch = Epoch(1), .turn = Turn(turn)});
    record->writes.push_back({.slot = SlotId(evicted->slot), .kind = WriteKind::kEvict, .value = 7,
                              .written_step = Step(step), .key = key});
    Await<bool>([&](auto done) {
      shard->Apply(record, [done](absl::Status s) { done(s.ok() ? absl::StatusOr<bool>(true) : s); });
    });
  }
  state.counters["slots"] = static_cast<double>(slots);
  state.counters["listed_per_update"] = static_cast<double>(in_list) / turn;
  state.counters["walked_per_update"] = static_cast<double>(walked) / turn;
  state.counters["asked_again"] = static_cast<double>(asked_again);
  state.counters["touched_per_update"] = static_cast<double>(shard->rows_touched() - before) / turn;
}
BENCHMARK(UpdateTouches)->Arg(10'000)->Arg(1'000'000)->Iterations(2000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace evoke

BENCHMARK_MAIN();
