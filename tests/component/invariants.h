// What the property tests of semantics.md, section 7, share: specs, a shadow of what replies tell, and
// one-line calls.
//
// All of them are built twice: as invariants_test, and with EVOKE_SLOW as invariants_slow_test, with longer
// logs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "storage/rocksdb_slot_store.h"
#include "tests/testing/engine_driver.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {

#ifdef EVOKE_SLOW
inline constexpr int kReinforcements = 1'000'000;
inline constexpr int kEntries = 1'000;
#else
inline constexpr int kReinforcements = 50'000;
inline constexpr int kEntries = 200;
#endif

inline uint64_t Seed() {
  const char* given = std::getenv("EVOKE_TEST_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 1;
}

inline int Blocks(int dim) {
  return (dim + 15) / 16;
}

inline double Norm64(const float* x, int dim) {
  double sum = 0;
  for (int e = 0; e < dim; ++e) sum += double{x[e]} * x[e];
  return std::sqrt(sum);
}

inline ObserveReply Train(EngineDriver& driver, const std::vector<ModelRow>& rows,
                          ObserveForm form = ObserveForm::kKeys) {
  absl::StatusOr<ObserveReply> reply;
  std::vector<Task> tasks;
  tasks.push_back(driver.ObserveTask(rows, &reply, form));
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
  EXPECT_TRUE(reply.ok()) << reply.status();
  return *std::move(reply);
}

inline void Clear(EngineDriver& driver) {
  std::vector<Task> tasks;
  tasks.push_back(driver.ClearTask());
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
}

inline QueryReply Query(EngineDriver& driver, const std::vector<std::vector<float>>& rows, uint32_t k) {
  absl::StatusOr<QueryReply> reply;
  std::vector<Task> tasks;
  tasks.push_back(driver.QueryTask(rows, k, &reply));
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
  EXPECT_TRUE(reply.ok()) << reply.status();
  return *std::move(reply);
}

inline std::vector<SlotAnswer> AllSlots(EngineDriver& driver) {
  std::vector<uint64_t> all(driver.spec().capacity);
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  absl::StatusOr<SlotsReply> reply;
  std::vector<Task> tasks;
  tasks.push_back(driver.SlotsTask(std::move(all), {}, &reply));
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
  return reply->slots;
}

// The metadata of slots, kept from what replies tell alone.
struct Shadow {
  struct Slot {
    int64_t value = 0;
    uint64_t written_step = 0;
    uint32_t hits = 0;
    friend bool operator==(const Slot&, const Slot&) = default;
  };
  std::map<uint64_t, Slot> live;
  std::map<evoke::Outcome, uint64_t> counts;
  uint64_t step = 0;

  // Expects of each row that it did to its slot what its outcome says, invariant 9 among it.
  void Apply(const std::vector<ModelRow>& rows, const BatchResult& reply) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const evoke::Outcome outcome = reply.outcomes[i];
      if (!rows[i].write || rows[i].skip) {
        EXPECT_EQ(outcome, evoke::Outcome::kNone);
        continue;
      }
      ++step;
      ++counts[outcome];
      if (outcome == evoke::Outcome::kDropped) continue;
      const auto slot = live.find(reply.slots[i]);
      switch (outcome) {
        case evoke::Outcome::kHit:
        case evoke::Outcome::kMerged:
        case evoke::Outcome::kFolded:
          ASSERT_NE(slot, live.end()) << "row " << i << " reinforced a free slot";
          ASSERT_EQ(slot->second.value, rows[i].value)
              << "row " << i << " reinforced a slot of another value";
          slot->second.written_step = step;
          ++slot->second.hits;
          break;
        case evoke::Outcome::kFree:
          ASSERT_EQ(slot, live.end()) << "row " << i << " took a live slot as a free one";
          live[reply.slots[i]] = {rows[i].value, step, 0};
          break;
        case evoke::Outcome::kEvict:
          ASSERT_NE(slot, live.end()) << "row " << i << " evicted a free slot";
          slot->second = {rows[i].value, step, 0};
          break;
        default:
          FAIL() << "outcome " << static_cast<int>(outcome);
      }
    }
  }
  void Clear() { live.clear(); }
  uint64_t Count(evoke::Outcome outcome) const { return counts.contains(outcome) ? counts.at(outcome) : 0; }
};

// Memories that differ in all that a decision depends on.
struct InvariantsMemory {
  const char* name;
  ModelSpec spec;
  friend void PrintTo(const InvariantsMemory& memory, std::ostream* out) { *out << memory.name; }
};
inline const InvariantsMemory kMemories[] = {
    {"Atomic", {.key_dim = 20, .capacity = 40, .seed = 3, .choose_k = 8, .age_noise = 10}},
    {"AtomicNoNoise", {.key_dim = 16, .capacity = 30, .choose_k = 30}},
    {"Sequential",
     {.key_dim = 33, .capacity = 32, .seed = 4, .choose_k = 5, .age_noise = 8, .sequential = true}},
    {"MergeAndFold",
     {.key_dim = 12,
      .capacity = 36,
      .seed = 5,
      .choose_k = 16,
      .age_noise = 4,
      .merge_on_miss = 0.2f,
      .fold_misses = 0.3f}},
};

class InvariantsTestBase : public ::testing::TestWithParam<InvariantsMemory> {
 protected:
  const ModelSpec spec = GetParam().spec;
  const ::testing::ScopedTrace seed_trace{__FILE__, __LINE__, "EVOKE_TEST_SEED=" + std::to_string(Seed())};

  RandomLogOptions LogOptions(int clear_percent = 0) const {
    return {.seed = Seed(),
            .key_dim = spec.key_dim,
            .capacity = spec.capacity,
            .value_count = 6,
            .clear_percent = clear_percent};
  }
  EngineDriver::Options DriverOptions(EngineOptions engine = {.shards = 3}) const {
    return {.spec = spec, .engine = std::move(engine)};
  }
};

class Folder {
 public:
  Folder() {
    path_ = ::testing::TempDir() + "/evoke-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline RocksDbSlotStore::Options StoreOptions(const std::string& path, const MemorySpec& spec) {
  return {.path = path,
          .uid = MemoryUid::FromView("invariants-mem-1"),
          .key_dim = spec.key_dim,
          .partitions = spec.partitions,
          .payload_history = spec.payload_history,
          .durability = Durability::kWal,
          .spec_digest = SpecDigest(spec),
          .keep_records_count = 1'000'000,
          .keep_records_bytes = uint64_t{1} << 40,
          .create = true};
}

inline EngineDriver::Options OnDisk(EngineDriver::Options options, const std::string& path) {
  MemorySpec spec = ToServerSpec(options.spec);
  spec.partitions = options.partitions;
  options.open_store = [path, spec] {
    auto store = RocksDbSlotStore::Open(StoreOptions(path, spec));
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  };
  return options;
}

}  // namespace evoke::testing
