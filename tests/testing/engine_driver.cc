#include "tests/testing/engine_driver.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "server/base/check.h"
#include "server/similarity/similarity.h"
#include "storage/ram_slot_store.h"
#include "storage/store_turn_log.h"

namespace evoke::testing {
namespace {

const MemoryUid kUid = MemoryUid::FromView("driver-memory-01");

// Waits for one call from another thread.
class Latch {
 public:
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    opened_.SignalAll();
  }
  void Wait() {
    MutexLock lock(&mu_);
    while (!open_) opened_.Wait(&mu_);
  }

 private:
  Mutex mu_;
  CondVar opened_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

class EngineDriver::Probe final : public EngineProbe {
 public:
  void OnTurn(const TurnReport& r) override {
    more += r.more_neighbors + r.more_oldest + r.more_free + r.more_of_value;
  }
  void OnRejected(std::string_view) override {}
  std::atomic<uint64_t> more{0};
};

MemorySpec ToServerSpec(const ModelSpec& m) {
  return {.key_dim = static_cast<uint32_t>(m.key_dim),
          .capacity = m.capacity,
          .seed = m.seed,
          .choose_k = static_cast<uint32_t>(m.choose_k),
          .margin = m.margin,
          .inverse_temperature = m.inverse_temperature,
          .age_noise = m.age_noise,
          .batch = m.sequential ? BatchMode::kSequential : BatchMode::kAtomic,
          .merge_on_miss = m.merge_on_miss,
          .fold_misses = m.fold_misses,
          .payload_history = static_cast<uint32_t>(m.payload_history)};
}

RowSet PackRows(const std::vector<ModelRow>& rows, uint32_t key_dim) {
  RowSet set{.dim = key_dim};
  set.unit.assign(rows.size() * key_dim, 0);
  set.norms.assign(rows.size(), 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    set.skip.push_back(rows[i].skip);
    if (rows[i].skip) continue;
    EVOKE_CHECK(NormaliseEmbedding(rows[i].x.data(), static_cast<int>(key_dim), &set.unit[i * key_dim],
                                   &set.norms[i]) == RowCheck::kOk);
  }
  return set;
}

EngineDriver::EngineDriver(Options options)
    : options_(std::move(options)),
      spec_([this] {
        MemorySpec spec = ToServerSpec(options_.spec);
        spec.partitions = options_.partitions;
        if (!options_.open_store) spec.durability = SpecDurability::kMemory;
        return spec;
      }()),
      compute_("compute", options_.threads),
      io_("io", 2),
      strand_(&compute_),
      probe_(std::make_unique<Probe>()) {
  Start();
}

EngineDriver::~EngineDriver() { Quiesce(); }

// What told that a turn is done may have a word left to say.
void EngineDriver::Quiesce() {
  Latch latch;
  strand_.Post([&] { latch.Open(); });
  latch.Wait();
}

uint64_t EngineDriver::more_requests() const { return probe_->more; }

void EngineDriver::Start() {
  if (options_.open_store) {
    store_ = options_.open_store();
  } else {
    store_ = std::make_unique<RamSlotStore>(
        RamSlotStore::Options{.uid = kUid, .payload_history = spec_.payload_history, .spec_digest = SpecDigest(spec_)});
  }
  auto recovered = Recover({.name = "driven",
                            .spec = spec_,
                            .engine = options_.engine,
                            .store = store_.get(),
                            .compute = &compute_,
                            .cores = options_.threads,
                            .io = &io_});
  if (!recovered.ok()) std::fprintf(stderr, "recover: %s\n", recovered.status().ToString().c_str());
  EVOKE_CHECK(recovered.ok());
  log_ = std::make_unique<StoreTurnLog>(store_.get(), [this](std::function<void()> work) { io_.Post(std::move(work)); });
  engine_ = std::make_unique<Engine>(Engine::Parts{.spec = spec_,
                                                   .options = options_.engine,
                                                   .state = std::move(recovered->state),
                                                   .shards = std::move(recovered->shards),
                                                   .sessions = std::move(recovered->sessions),
                                                   .store = store_.get(),
                                                   .log = log_.get(),
                                                   .strand = &strand_,
                                                   .io = &io_,
                                                   .clock = &clock_,
                                                   .probe = probe_.get()});
}

void EngineDriver::Restart() {
  Quiesce();
  engine_.reset();
  log_.reset();
  store_.reset();
  Start();
}

absl::Status EngineDriver::RunTurn(std::vector<Task> tasks) {
  Latch latch;
  absl::Status verdict;
  for (Task& task : tasks) task.submitted = clock_.Now();
  strand_.Post([&] {
    engine_->RunTurn(std::move(tasks), [] {}, [&](absl::Status status) {
      verdict = status;
      latch.Open();
    });
  });
  latch.Wait();
  return verdict;
}

MutationId EngineDriver::NextMutation() {
  MutationId id{.number = ++number_, .first_unacknowledged = number_, .opened_after = 0};
  std::memcpy(id.session.bytes.data(), &session_, sizeof(session_));
  id.digest.low = number_;
  return id;
}

Task EngineDriver::ObserveTask(const std::vector<ModelRow>& rows, absl::StatusOr<ObserveReply>* result,
                               ObserveForm form, bool confidence_gradient) {
  ObserveCall call{.rows = PackRows(rows, spec_.key_dim), .form = form, .confidence_gradient = confidence_gradient};
  bool writes = false;
  bool payloads = false;
  for (const ModelRow& row : rows) {
    call.values.push_back(row.value);
    call.write.push_back(row.write && !row.skip);
    writes |= call.write.back() != 0;
    payloads |= !row.payload.empty();
  }
  if (payloads) {
    for (const ModelRow& row : rows) call.payloads.push_back(row.payload);
  }
  if (writes) call.mutation = NextMutation();
  auto made = std::make_shared<ObserveReply>();
  call.encode = [made](const ObserveReply& reply) {
    *made = reply;
    return std::string("reply");
  };
  call.done = [made, result](absl::StatusOr<std::string> done) {
    if (done.ok()) {
      *result = *made;
    } else {
      *result = done.status();
    }
  };
  return {.call = std::move(call)};
}

Task EngineDriver::QueryTask(const std::vector<std::vector<float>>& rows, uint32_t k,
                             absl::StatusOr<QueryReply>* result) {
  std::vector<ModelRow> model_rows;
  for (const auto& x : rows) model_rows.push_back({.x = x});
  QueryCall call{.rows = PackRows(model_rows, spec_.key_dim),
                 .k = k,
                 .inverse_temperature = spec_.inverse_temperature,
                 .neighbors = true,
                 .keys = true,
                 .payloads = true};
  call.done = [result](absl::StatusOr<QueryReply> reply) { *result = std::move(reply); };
  return {.call = std::move(call)};
}

Task EngineDriver::ClearTask() {
  ClearCall call{.mutation = NextMutation()};
  call.encode = [](const ClearReply&) { return std::string("cleared"); };
  call.done = [](absl::StatusOr<std::string> reply) { EXPECT_TRUE(reply.ok()) << reply.status(); };
  return {.call = std::move(call)};
}

Task EngineDriver::SlotsTask(std::vector<uint64_t> slots, std::vector<int64_t> values,
                             absl::StatusOr<SlotsReply>* result) {
  SlotsCall call{.slots = std::move(slots), .values = std::move(values), .limit = 1024, .keys = true, .payloads = true};
  call.done = [result](absl::StatusOr<SlotsReply> reply) { *result = std::move(reply); };
  return {.call = std::move(call)};
}

void ExpectEqualResults(const std::vector<ModelResult>& expected, const ObserveReply& actual, uint32_t key_dim) {
  ASSERT_EQ(actual.rows, expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const ModelResult& e = expected[i];
    SCOPED_TRACE(::testing::Message() << "row " << i);
    EXPECT_EQ(OutcomeName(actual.outcomes[i]), ToString(e.outcome));
    EXPECT_EQ(actual.slots[i], e.slot);
    EXPECT_EQ(actual.answered[i] != 0, e.answered);
    EXPECT_EQ(actual.values[i], e.value);
    EXPECT_NEAR(actual.confidences[i], e.confidence, 1e-6);
    EXPECT_EQ(actual.losses[i], e.loss);
    EXPECT_EQ(actual.positive_found[i] != 0, e.positive_found);
    EXPECT_EQ(actual.negative_found[i] != 0, e.negative_found);
    for (uint32_t c = 0; c < key_dim; ++c) {
      const size_t at = i * key_dim + c;
      if (!actual.positive_keys.empty() && !e.positive_key.empty()) {
        EXPECT_EQ(actual.positive_keys[at], e.positive_key[c]);
        EXPECT_EQ(actual.negative_keys[at], e.negative_key[c]);
      }
      if (!actual.gradients.empty() && !e.loss_gradient.empty()) {
        EXPECT_NEAR(actual.gradients[at], e.loss_gradient[c], 1e-6 * (1 + std::abs(e.loss_gradient[c])));
      }
      if (!actual.confidence_gradients.empty() && !e.confidence_gradient.empty()) {
        EXPECT_NEAR(actual.confidence_gradients[at], e.confidence_gradient[c],
                    1e-5 * (1 + std::abs(e.confidence_gradient[c])));
      }
    }
  }
}

namespace {

class EngineUnderTest final : public MemoryUnderTest {
 public:
  explicit EngineUnderTest(EngineDriver::Options options) : driver_(std::move(options)) {}

  std::vector<ModelResult> Train(const std::vector<ModelRow>& rows) override {
    absl::StatusOr<ObserveReply> reply;
    std::vector<Task> tasks;
    tasks.push_back(driver_.ObserveTask(rows, &reply));
    EXPECT_TRUE(driver_.RunTurn(std::move(tasks)).ok());
    EXPECT_TRUE(reply.ok()) << reply.status();
    std::vector<ModelResult> results(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      results[i].answered = reply->answered[i] != 0;
      results[i].value = reply->values[i];
      results[i].confidence = reply->confidences[i];
      results[i].loss = reply->losses[i];
      results[i].positive_found = reply->positive_found[i] != 0;
      results[i].negative_found = reply->negative_found[i] != 0;
      results[i].outcome = static_cast<Outcome>(static_cast<int>(reply->outcomes[i]) - 1);
      results[i].slot = reply->slots[i];
    }
    return results;
  }

  std::vector<ModelNeighbor> Query(const std::vector<float>& x, int k) override {
    absl::StatusOr<QueryReply> reply;
    std::vector<Task> tasks;
    tasks.push_back(driver_.QueryTask({x}, static_cast<uint32_t>(k), &reply));
    EXPECT_TRUE(driver_.RunTurn(std::move(tasks)).ok());
    std::vector<ModelNeighbor> neighbors;
    const uint32_t dim = driver_.spec().key_dim;
    for (uint32_t n = 0; n < reply->neighbor_count; ++n) {
      const ScoredSlot& s = reply->neighbors[n];
      neighbors.push_back({s.slot, s.value, s.similarity, reply->weights[n],
                           reply->state.step.value - s.written_step,
                           {reply->keys.begin() + n * dim, reply->keys.begin() + (n + 1) * dim}});
    }
    return neighbors;
  }

  void Clear() override {
    std::vector<Task> tasks;
    tasks.push_back(driver_.ClearTask());
    EXPECT_TRUE(driver_.RunTurn(std::move(tasks)).ok());
  }

  std::string StateHash() override { return driver_.state().state_hash.ToString(); }
  uint64_t Step() override { return driver_.state().name.step.value; }

 private:
  EngineDriver driver_;
};

}  // namespace

std::unique_ptr<MemoryUnderTest> MakeEngineUnderTest(EngineDriver::Options options) {
  return std::make_unique<EngineUnderTest>(std::move(options));
}

}  // namespace evoke::testing
