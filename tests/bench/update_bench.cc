// An update's own cost, everything but the search, against the number of slots: a full memory, age_noise 128, batches
// of 64 rows of which half hit and half replace an old slot, commit at durability WAL included.
//
//   update_bench --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
//   EVOKE_BENCH_SMOKE=1              4,096 slots instead of 1,000,000: what CI runs
//
// The engine, a real shard and a real store; but the shard's index is not asked: each row's neighbors are slots that the
// shard's other lists name. Counters: medians of the turns and of their phases (EngineProbe), without the time in which
// those neighbors' keys are fetched.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include "absl/time/clock.h"
#include "server/base/check.h"
#include "server/base/thread_pool.h"
#include "server/engine/engine.h"
#include "server/engine/local_shard.h"
#include "server/similarity/similarity.h"
#include "storage/store_turn_log.h"
#include "tests/bench/full_store.h"

namespace evoke::bench {
namespace {

constexpr uint32_t kRows = 64;

MemorySpec SpecOf(uint64_t slots) {
  return {.key_dim = 128, .capacity = slots, .choose_k = 4, .age_noise = 128, .durability = SpecDurability::kWal};
}

// A shard whose neighbors cost nothing: of even rows the newest slot of their label, so they hit; of odd rows the
// oldest slot, which has another value.
class ListedShard final : public Shard {
 public:
  explicit ListedShard(std::unique_ptr<LocalShard> shard, absl::Duration* aside) : shard_(std::move(shard)), aside_(aside) {}

  void Propose(ProposeRequest request, Done<Proposal> done) override {
    for (RowWant& want : request.wants) want.neighbors = want.keys = 0;
    auto shared = std::make_shared<ProposeRequest>(request);
    shard_->Propose(std::move(request), [this, shared, done = std::move(done)](absl::StatusOr<Proposal> proposal) {
      EVOKE_CHECK(proposal.ok());
      List(*shared, std::make_shared<Proposal>(*std::move(proposal)), done);
    });
  }
  void Fetch(FetchRequest request, Done<std::vector<SlotContent>> done) override { shard_->Fetch(request, done); }
  void ReadValue(SlotsOfValueRequest request, Done<SlotsOfValue> done) override { shard_->ReadValue(request, done); }
  void Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done) override {
    shard_->Apply(std::move(record), std::move(done));
  }
  void Figures(Done<ShardFigures> done) override { shard_->Figures(done); }

 private:
  void List(const ProposeRequest& request, std::shared_ptr<Proposal> proposal, const Done<Proposal>& done) {
    FetchRequest fetch{.at = request.at};
    for (size_t i = 0; i < request.wants.size(); ++i) {
      RowProposal& row = proposal->rows[i];
      row.bound = {Bound::Kind::kUnproven, {}};
      if (request.wants[i].row % 2 == 0 && !row.of_label.empty()) {
        row.neighbors.push_back(row.of_label[0]);
        fetch.slots.push_back(row.of_label[0].slot);
      } else if (!proposal->oldest.empty()) {
        const SlotState& old = proposal->oldest[0];
        row.neighbors.push_back({old.slot, 0.1f, old.value, old.written_step, old.hits});
      }
    }
    if (fetch.slots.empty()) return done(std::move(*proposal));
    std::sort(fetch.slots.begin(), fetch.slots.end());
    fetch.slots.erase(std::unique(fetch.slots.begin(), fetch.slots.end()), fetch.slots.end());
    const absl::Time began = absl::Now();
    shard_->Fetch(fetch, [this, began, proposal, done](absl::StatusOr<std::vector<SlotContent>> fetched) {
      std::map<uint64_t, const SlotContent*> contents;
      for (const SlotContent& content : *fetched) contents[content.state.slot] = &content;
      for (RowProposal& row : proposal->rows) {
        if (row.neighbors.empty()) continue;
        if (const auto it = contents.find(row.neighbors[0].slot); it != contents.end()) row.keys = it->second->key;
      }
      *aside_ += absl::Now() - began;
      done(std::move(*proposal));
    });
  }

  const std::unique_ptr<LocalShard> shard_;
  absl::Duration* const aside_;
};

class Phases final : public EngineProbe {
 public:
  void OnTurn(const TurnReport& report) override { last = report.phases; }
  void OnRejected(std::string_view) override {}
  std::array<absl::Duration, kPhaseCount> last;
};

// A memory of so many slots, all live, and its updates.
class Subject {
 public:
  explicit Subject(uint64_t slots)
      : spec_(SpecOf(slots)), store_({.path = folder_.path() + "/store", .spec = spec_}), labels_(slots) {
    auto shard = LocalShard::Create({.spec = spec_, .uid = store_.store()->ReadMeta()->uid, .partitions = AllPartitions(),
                                     .scheduler = &compute_});
    EVOKE_CHECK(shard.ok());
    for (const Partition p : AllPartitions()) {
      EVOKE_CHECK(store_.store()->ScanPartition(p, [&](const SlotRow& row) {
        return (*shard)->Load(row.slot, row.value, row.written_step, row.hits, row.key);
      }).ok());
    }
    const MetaRow meta = *store_.store()->ReadMeta();
    (*shard)->FinishLoad(meta.turn, meta.epoch);
    const uint64_t distinct = (*shard)->values().distinct_values();
    std::vector<std::unique_ptr<Shard>> shards;
    shards.push_back(std::make_unique<ListedShard>(*std::move(shard), &aside_));
    log_ = std::make_unique<StoreTurnLog>(store_.store(), [this](std::function<void()> work) { io_.Post(std::move(work)); });
    Engine::Parts parts{.spec = spec_, .sessions = Sessions({}), .store = store_.store(), .log = log_.get(), .strand = &strand_, .io = &io_,
                        .clock = &clock_, .probe = &probe_};
    parts.shards = std::make_unique<ShardSet>(std::move(shards), std::vector<uint32_t>(spec_.partitions, 0));
    StateName& name = parts.state.name;
    name.memory = "m";
    name.uid = meta.uid;
    name.epoch = meta.epoch;
    name.term = meta.term;
    name.turn = meta.turn;
    name.step = meta.step;
    name.durability = Durability::kWal;
    parts.state.chain = meta.chain;
    parts.state.state_hash = meta.state_hash;
    parts.state.live_count = meta.live_count;
    parts.state.distinct_values = distinct;
    engine_ = std::make_unique<Engine>(std::move(parts));
  }

  struct Cost {
    absl::Duration turn;  // without what ListedShard put aside
    std::array<absl::Duration, kPhaseCount> phases;
  };
  Cost Update() {
    std::vector<Task> tasks;
    tasks.push_back({.call = NextCall(), .submitted = clock_.Now()});
    aside_ = absl::ZeroDuration();
    absl::Time done;
    Mutex mu;
    CondVar changed;
    bool finished = false;
    const absl::Time begin = absl::Now();
    strand_.Post([&] {
      engine_->RunTurn(std::move(tasks), [] {}, [&](absl::Status status) {
        EVOKE_CHECK(status.ok());
        MutexLock lock(&mu);
        done = absl::Now();
        finished = true;
        changed.SignalAll();
      });
    });
    MutexLock lock(&mu);
    while (!finished) changed.Wait(&mu);
    return {.turn = done - begin - aside_, .phases = probe_.last};
  }

 private:
  std::vector<Partition> AllPartitions() const {
    std::vector<Partition> all;
    for (uint32_t p = 0; p < spec_.partitions; ++p) all.push_back(Partition(p));
    return all;
  }

  ObserveCall NextCall() {
    ObserveCall call{.rows = {.dim = spec_.key_dim}, .form = ObserveForm::kOutcomes};
    std::normal_distribution<float> normal;
    std::vector<float> x(spec_.key_dim);
    for (uint32_t r = 0; r < kRows; ++r) {
      for (float& c : x) c = normal(random_);
      call.rows.unit.resize(call.rows.unit.size() + spec_.key_dim);
      call.rows.norms.push_back(1);
      float norm = 0;
      EVOKE_CHECK(NormaliseEmbedding(x.data(), static_cast<int>(spec_.key_dim),
                                     call.rows.unit.data() + size_t{r} * spec_.key_dim, &norm) == RowCheck::kOk);
      call.rows.skip.push_back(0);
      call.values.push_back(static_cast<int64_t>(random_() % (labels_ / 2)));
      call.write.push_back(1);
    }
    call.mutation = MutationId{.number = ++number_, .first_unacknowledged = number_};
    call.mutation->session.bytes.fill(9);
    call.mutation->digest.low = number_;
    call.encode = [](const ObserveReply&) { return std::string(kRows * 16, 'r'); };
    call.done = [](absl::StatusOr<std::string> reply) { EVOKE_CHECK(reply.ok()); };
    return call;
  }

  const MemorySpec spec_;
  Folder folder_;
  FullStore store_;
  const uint64_t labels_;
  absl::Duration aside_;
  RealClock clock_;
  ThreadPool compute_{"compute", 2};
  ThreadPool io_{"io", 1};
  Strand strand_{&compute_};
  Phases probe_;
  std::unique_ptr<TurnLog> log_;
  std::unique_ptr<Engine> engine_;
  std::mt19937_64 random_{3};
  uint64_t number_ = 0;
};

std::map<uint64_t, std::unique_ptr<Subject>>& Subjects() {
  static auto& subjects = *new std::map<uint64_t, std::unique_ptr<Subject>>;
  return subjects;
}

double Median(std::vector<double> of) {
  std::nth_element(of.begin(), of.begin() + of.size() / 2, of.end());
  return of[of.size() / 2];
}

void Update(benchmark::State& state) {
  const uint64_t slots = Smoke() ? 4096 : static_cast<uint64_t>(state.range(0));
  std::unique_ptr<Subject>& subject = Subjects()[slots];
  if (subject == nullptr) subject = std::make_unique<Subject>(slots);
  for (int i = 0; i < (Smoke() ? 2 : 50); ++i) subject->Update();
  std::vector<double> turns;
  std::array<std::vector<double>, kPhaseCount> phases;
  for (auto _ : state) {
    const Subject::Cost cost = subject->Update();
    turns.push_back(absl::ToDoubleMicroseconds(cost.turn));
    for (int p = 0; p < kPhaseCount; ++p) phases[p].push_back(absl::ToDoubleMicroseconds(cost.phases[p]));
    state.SetIterationTime(absl::ToDoubleSeconds(cost.turn));
  }
  for (const Phase p : {Phase::kPropose, Phase::kMore, Phase::kFetch, Phase::kDecide, Phase::kCommit, Phase::kApply}) {
    state.counters[std::string(kPhaseNames[static_cast<int>(p)]) + "_us"] = Median(phases[static_cast<int>(p)]);
  }
  state.counters["p50_us"] = Median(turns);
  std::nth_element(turns.begin(), turns.begin() + turns.size() / 10, turns.end());
  state.counters["p10_us"] = turns[turns.size() / 10];
}
BENCHMARK(Update)
    ->ArgName("slots")
    ->Arg(10'000)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Iterations(300)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::DescribeRun(argc, argv);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  evoke::bench::Subjects().clear();
  return 0;
}
