// The invariants 1 to 11 of semantics.md, section 7, on the real engine, each over random logs.
//
// Built twice: as invariants_test, and with EVOKE_SLOW as invariants_slow_test, which takes longer logs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "server/engine/shard_state.h"
#include "server/memory/state_hash.h"
#include "storage/rocksdb_slot_store.h"
#include "tests/testing/engine_driver.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

#ifdef EVOKE_SLOW
constexpr int kReinforcements = 1'000'000;
constexpr int kEntries = 1'000;
#else
constexpr int kReinforcements = 50'000;
constexpr int kEntries = 120;
#endif

uint64_t Seed() {
  const char* given = std::getenv("EVOKE_TEST_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 1;
}

int Blocks(int dim) { return (dim + 15) / 16; }

double Norm64(const float* x, int dim) {
  double sum = 0;
  for (int e = 0; e < dim; ++e) sum += double{x[e]} * x[e];
  return std::sqrt(sum);
}

ObserveReply Train(EngineDriver& driver, const std::vector<ModelRow>& rows, ObserveForm form = ObserveForm::kKeys) {
  absl::StatusOr<ObserveReply> reply;
  std::vector<Task> tasks;
  tasks.push_back(driver.ObserveTask(rows, &reply, form));
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
  EXPECT_TRUE(reply.ok()) << reply.status();
  return *std::move(reply);
}

void Clear(EngineDriver& driver) {
  std::vector<Task> tasks;
  tasks.push_back(driver.ClearTask());
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
}

QueryReply Query(EngineDriver& driver, const std::vector<std::vector<float>>& rows, uint32_t k) {
  absl::StatusOr<QueryReply> reply;
  std::vector<Task> tasks;
  tasks.push_back(driver.QueryTask(rows, k, &reply));
  EXPECT_TRUE(driver.RunTurn(std::move(tasks)).ok());
  EXPECT_TRUE(reply.ok()) << reply.status();
  return *std::move(reply);
}

std::vector<SlotAnswer> AllSlots(EngineDriver& driver) {
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
          ASSERT_EQ(slot->second.value, rows[i].value) << "row " << i << " reinforced a slot of another value";
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
struct Memory {
  const char* name;
  ModelSpec spec;
};
const Memory kMemories[] = {
    {"Atomic", {.key_dim = 20, .capacity = 40, .seed = 3, .choose_k = 8, .age_noise = 10}},
    {"AtomicNoNoise", {.key_dim = 16, .capacity = 30, .choose_k = 30}},
    {"Sequential", {.key_dim = 33, .capacity = 32, .seed = 4, .choose_k = 5, .age_noise = 8, .sequential = true}},
    {"MergeAndFold",
     {.key_dim = 12, .capacity = 36, .seed = 5, .choose_k = 16, .age_noise = 4, .merge_on_miss = 0.2f, .fold_misses = 0.3f}},
};

class InvariantsTest : public ::testing::TestWithParam<Memory> {
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

INSTANTIATE_TEST_SUITE_P(Memories, InvariantsTest, ::testing::ValuesIn(kMemories),
                         [](const auto& info) { return info.param.name; });

// --- 1 -------------------------------------------------------------------------------------------------------------

class NormTest : public ::testing::TestWithParam<int> {};

TEST_P(NormTest, LiveKeysKeepNormOneThroughManyReinforcements) {
  const int dim = GetParam();
  EngineDriver driver({.spec = {.key_dim = dim, .capacity = 1, .choose_k = 1}, .partitions = 1});
  RandomBits bits(Seed());
  const double bound = (Blocks(dim) + 8) * 0x1p-25;
  uint32_t hits = 0;
  for (int done = 0; done < kReinforcements;) {
    std::vector<ModelRow> rows(std::min(4096, kReinforcements - done + 1));
    for (ModelRow& row : rows) {
      for (int e = 0; e < dim; ++e) row.x.push_back(static_cast<float>(bits.Between(-1000, 1000)) + 0.5f);
    }
    const ObserveReply reply = Train(driver, rows, ObserveForm::kScores);
    hits += static_cast<uint32_t>(std::count(reply.outcomes.begin(), reply.outcomes.end(), evoke::Outcome::kHit));
    done = static_cast<int>(hits) + (hits == 0 ? 1 : 0);
    const std::vector<SlotAnswer> slots = AllSlots(driver);
    ASSERT_EQ(slots.size(), 1u);
    ASSERT_NEAR(Norm64(slots[0].content.key.data(), dim), 1, bound) << "after " << hits;
    ASSERT_EQ(slots[0].content.state.hits, hits);
  }
  EXPECT_GE(hits, static_cast<uint32_t>(kReinforcements));
}

INSTANTIATE_TEST_SUITE_P(Dimensions, NormTest, ::testing::Values(1, 2, 16, 17, 100));

TEST_P(InvariantsTest, OnlyLiveSlotsAppearAndTheirKeysHaveNormOne) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions(/*clear_percent=*/3));
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    if (entry.clear) {
      Clear(driver);
      shadow.Clear();
      continue;
    }
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    ASSERT_FALSE(HasFailure());
    const std::vector<SlotAnswer> slots = AllSlots(driver);
    ASSERT_EQ(slots.size(), shadow.live.size());
    for (const SlotAnswer& slot : slots) {
      const SlotState& s = slot.content.state;
      ASSERT_TRUE(shadow.live.contains(s.slot));
      EXPECT_EQ((Shadow::Slot{s.value, s.written_step, s.hits}), shadow.live.at(s.slot));
      EXPECT_NEAR(Norm64(slot.content.key.data(), spec.key_dim), 1, (Blocks(spec.key_dim) + 8) * 0x1p-25);
    }
    const std::vector<float> x(static_cast<size_t>(spec.key_dim), 1);
    for (const uint32_t k : {1u, 7u, 1000u}) {
      const QueryReply reply = Query(driver, {x}, k);
      ASSERT_EQ(reply.neighbor_count, std::min<size_t>(k, shadow.live.size()));
      for (const ScoredSlot& n : reply.neighbors) EXPECT_TRUE(shadow.live.contains(n.slot));
    }
  }
}

// --- 2, 3 ----------------------------------------------------------------------------------------------------------

TEST_P(InvariantsTest, CountsOfOutcomesAddUp) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions());
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    using enum evoke::Outcome;
    const uint64_t hits = shadow.Count(kHit) + shadow.Count(kMerged) + shadow.Count(kFolded);
    const uint64_t misses = shadow.Count(kFree) + shadow.Count(kEvict);
    ASSERT_EQ(hits + misses + shadow.Count(kDropped), driver.state().name.step.value);
    ASSERT_EQ(driver.state().live_count, std::min(spec.capacity, misses));
    ASSERT_EQ(shadow.Count(kEvict), misses > spec.capacity ? misses - spec.capacity : 0);
  }
}

TEST_P(InvariantsTest, ValueIndexIsTheLiveSlotsDisjointAndNewestFirst) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions(/*clear_percent=*/3));
  std::set<int64_t> values;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    if (entry.clear) {
      Clear(driver);
      shadow.Clear();
      continue;
    }
    for (const ModelRow& row : entry.rows) values.insert(row.value);
    shadow.Apply(entry.rows, Train(driver, entry.rows));
    absl::StatusOr<SlotsReply> reply;
    std::vector<Task> tasks;
    tasks.push_back(driver.SlotsTask({}, {values.begin(), values.end()}, &reply));
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    uint64_t listed = 0, present = 0;
    for (const SlotsReply::OfValue& of_value : reply->values) {
      uint64_t observations = 0;
      for (size_t n = 0; n < of_value.slots.size(); ++n) {
        const SlotState& s = of_value.slots[n].content.state;
        EXPECT_EQ(shadow.live.at(s.slot).value, of_value.count.value);
        if (n > 0) EXPECT_LT(s.written_step, of_value.slots[n - 1].content.state.written_step);
        observations += 1 + s.hits;
      }
      EXPECT_EQ(of_value.count.live_slots, of_value.slots.size());
      EXPECT_EQ(of_value.count.observations, observations);
      listed += of_value.slots.size();
      present += of_value.slots.empty() ? 0 : 1;
    }
    ASSERT_EQ(listed, shadow.live.size()) << "each live slot under one value, so none twice";
    ASSERT_EQ(driver.state().distinct_values, present);
  }
}

// --- 4, 5 ----------------------------------------------------------------------------------------------------------

// Bitwise, of row `a` of one reply and row `b` of another.
void ExpectEqualRows(const QueryReply& x, size_t a, const QueryReply& y, size_t b, size_t dim) {
  ASSERT_EQ(x.neighbor_count, y.neighbor_count);
  EXPECT_EQ(x.answered[a], y.answered[b]);
  EXPECT_EQ(x.values[a], y.values[b]);
  EXPECT_EQ(x.confidences[a], y.confidences[b]);
  for (size_t n = 0; n < x.neighbor_count; ++n) {
    const size_t i = a * x.neighbor_count + n, j = b * y.neighbor_count + n;
    EXPECT_EQ(x.neighbors[i].slot, y.neighbors[j].slot);
    EXPECT_EQ(std::bit_cast<uint32_t>(x.neighbors[i].similarity), std::bit_cast<uint32_t>(y.neighbors[j].similarity));
    EXPECT_EQ(x.weights[i], y.weights[j]);
    EXPECT_TRUE(std::equal(&x.keys[i * dim], &x.keys[i * dim] + dim, &y.keys[j * dim]));
  }
}

TEST_P(InvariantsTest, ReadsLeaveTheStateAndABatchIsItsRowsAlone) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  RandomBits bits(Seed());
  for (int i = 0; i < kEntries / 4; ++i) {
    Train(driver, log.Next().rows);
    const Hash128 hash = driver.state().state_hash;
    const Turn turn = driver.state().name.turn;

    std::vector<ModelRow> read;
    std::vector<std::vector<float>> x;
    for (ModelRow& row : log.Next().rows) {
      row.write = false;
      if (!row.skip) x.push_back(row.x);
      read.push_back(row);
    }
    const ObserveReply scored = Train(driver, read);
    EXPECT_EQ(std::count(scored.outcomes.begin(), scored.outcomes.end(), evoke::Outcome::kNone), scored.rows);
    const QueryReply batch = Query(driver, x, 9);
    for (size_t r = 0; r < x.size(); ++r) {
      ExpectEqualRows(batch, r, Query(driver, {x[r]}, 9), 0, static_cast<size_t>(spec.key_dim));

      std::vector<float> scaled = x[r];  // components are at least 2^-44 here
      const float factor = std::ldexp(1.0f, static_cast<int>(bits.Between(-19, 40)));
      for (float& c : scaled) c *= factor;
      ExpectEqualRows(batch, r, Query(driver, {scaled}, 9), 0, static_cast<size_t>(spec.key_dim));
    }
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(driver.state().state_hash, hash);
    ASSERT_EQ(driver.state().name.turn, turn);
  }
}

TEST_P(InvariantsTest, AnyPositiveScaleMovesSimilaritiesByAFewUlps) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  RandomBits bits(Seed());
  const auto k = static_cast<uint32_t>(spec.capacity);
  const double bound = (3 * Blocks(spec.key_dim) + 18) * 0x1p-24;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    Train(driver, entry.rows);
    if (entry.rows[0].skip) continue;
    std::vector<float> scaled = entry.rows[0].x;
    const float c = static_cast<float>(bits.Between(1, 1 << 24)) * 0x1p-12f;
    for (float& component : scaled) component *= c;
    const QueryReply reply = Query(driver, {entry.rows[0].x, scaled}, k);
    std::map<uint64_t, float> similarity;
    for (size_t n = 0; n < reply.neighbor_count; ++n) similarity[reply.neighbors[n].slot] = reply.neighbors[n].similarity;
    for (size_t n = reply.neighbor_count; n < reply.neighbors.size(); ++n) {
      ASSERT_NEAR(reply.neighbors[n].similarity, similarity.at(reply.neighbors[n].slot), bound) << "scale " << c;
    }
  }
}

TEST_P(InvariantsTest, WhatAMissWroteIsFoundBySimilarityOneUnlessAnotherIsAsNear) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  const double bound = (Blocks(spec.key_dim) + 8) * 0x1p-23;
  int checked = 0;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    const ObserveReply trained = Train(driver, entry.rows);
    for (size_t r = 0; r < entry.rows.size(); ++r) {
      const bool miss = trained.outcomes[r] == evoke::Outcome::kFree || trained.outcomes[r] == evoke::Outcome::kEvict;
      if (!miss || std::count(trained.slots.begin() + static_cast<int64_t>(r), trained.slots.end(), trained.slots[r]) > 1) continue;
      const QueryReply reply = Query(driver, {entry.rows[r].x}, static_cast<uint32_t>(spec.capacity));
      const auto own = std::find_if(reply.neighbors.begin(), reply.neighbors.end(),
                                    [&](const ScoredSlot& n) { return n.slot == trained.slots[r]; });
      ASSERT_NE(own, reply.neighbors.end());
      EXPECT_NEAR(own->similarity, 1, bound);
      EXPECT_EQ(own->value, entry.rows[r].value);
      if (own != reply.neighbors.begin()) EXPECT_GE(reply.neighbors[0].similarity, own->similarity);
      else EXPECT_EQ(reply.values[0], entry.rows[r].value);
      ++checked;
    }
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(checked, kEntries);
}

// --- 6, 11 ---------------------------------------------------------------------------------------------------------

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

RocksDbSlotStore::Options StoreOptions(const std::string& path, const MemorySpec& spec) {
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

EngineDriver::Options OnDisk(EngineDriver::Options options, const std::string& path) {
  MemorySpec spec = ToServerSpec(options.spec);
  spec.partitions = options.partitions;
  options.open_store = [path, spec] {
    auto store = RocksDbSlotStore::Open(StoreOptions(path, spec));
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  };
  return options;
}

// The hash after each entry of a log, one entry a turn on one shard and one thread.
std::vector<Hash128> ReferenceHashes(const ModelSpec& spec, const std::vector<LogEntry>& log) {
  EngineDriver driver({.spec = spec, .engine = {.shards = 1}, .threads = 1});
  std::vector<Hash128> hashes;
  for (const LogEntry& entry : log) {
    entry.clear ? Clear(driver) : void(Train(driver, entry.rows));
    hashes.push_back(driver.state().state_hash);
  }
  return hashes;
}

// Runs a log with entries thrown together into turns at random, and compares with the hashes after each.
void RunInTurns(EngineDriver& driver, const std::vector<LogEntry>& log, const std::vector<Hash128>& expected,
                uint64_t seed, const std::function<void(size_t)>& between_turns = nullptr) {
  RandomBits bits(seed);
  for (size_t i = 0; i < log.size();) {
    std::vector<Task> tasks;
    std::vector<absl::StatusOr<ObserveReply>> replies(8);
    for (uint64_t left = 1 + bits.Below(8); left > 0 && i < log.size(); --left, ++i) {
      if (log[i].clear && !tasks.empty()) break;  // a Clear is alone in its turn
      if (log[i].clear) {
        tasks.push_back(driver.ClearTask());
        ++i;
        break;
      }
      tasks.push_back(driver.ObserveTask(log[i].rows, &replies[tasks.size()]));
    }
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    ASSERT_EQ(driver.state().state_hash, expected[i - 1]) << "after entry " << i - 1;
    if (between_turns) between_turns(i);
  }
}

TEST_P(InvariantsTest, OneLogGivesOneStateOnAnyThreadsShardsAndIndexInAnyTurns) {
  const std::vector<LogEntry> log = MakeRandomLog(LogOptions(/*clear_percent=*/2), kEntries);
  const std::vector<Hash128> expected = ReferenceHashes(spec, log);
  struct Setup {
    size_t threads;
    EngineOptions engine;
  };
  uint64_t seed = Seed();
  for (const Setup& setup : {Setup{1, {.shards = 2}}, Setup{2, {.shards = 1, .index = "faiss_flat"}},
                             Setup{8, {.shards = 8}}, Setup{8, {.shards = 3, .index = "faiss_flat"}},
                             Setup{2, {.shards = 3, .ask_one_at_a_time = true, .apply_lag_turns = 2}}}) {
    SCOPED_TRACE(::testing::Message() << setup.threads << " threads, " << setup.engine.shards << " shards, "
                                      << setup.engine.index);
    EngineDriver driver({.spec = spec, .engine = setup.engine, .threads = setup.threads});
    RunInTurns(driver, log, expected, ++seed);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(InvariantsTest, OneLogGivesOneStateAcrossRestartsReplayAndCheckpoints) {
  const Folder folder;
  const std::vector<LogEntry> log = MakeRandomLog(LogOptions(/*clear_percent=*/2), kEntries);
  const std::vector<Hash128> expected = ReferenceHashes(spec, log);
  const EngineDriver::Options options = OnDisk(DriverOptions({.shards = 3}), folder / "store");
  EngineDriver driver(options);
  RandomBits bits(Seed() + 7);
  Turn checkpointed;
  RunInTurns(driver, log, expected, Seed(), [&](size_t done) {
    if (bits.Percent(20)) {
      driver.Restart();
      ASSERT_EQ(driver.state().state_hash, expected[done - 1]) << "recovered after entry " << done - 1;
    }
    if (checkpointed.value == 0 && done > log.size() / 2) checkpointed = *driver.store()->Checkpoint(folder / "copy");
  });
  ASSERT_FALSE(HasFailure());
  ASSERT_GT(checkpointed.value, 0u);

  // From nothing, record by record.
  std::vector<Partition> all;
  for (uint32_t p = 0; p < driver.spec().partitions; ++p) all.push_back(Partition(p));
  auto replayed = ShardState::Create(driver.spec(), driver.state().name.uid, all);
  ASSERT_TRUE(replayed.ok());
  replayed->FinishLoad(Turn(0), Epoch(1));
  std::vector<TurnRecord> later;
  ASSERT_TRUE(driver.store()->ReadRecords(Turn(1), [&](const DecodedTurn& turn) {
    ShardState::Changes changes;
    const absl::Status applied = replayed->Apply(turn.record, &changes);
    Hash128 sum;
    for (const auto& [partition, hash] : replayed->PartitionHashes()) sum += hash;
    EXPECT_EQ(sum, turn.record.state_hash) << "turn " << turn.record.turn.value;
    if (turn.record.turn > checkpointed) later.push_back(turn.record);
    return applied;
  }).ok());
  EXPECT_EQ(replayed->turn(), driver.state().name.turn);

  // From the copy.
  auto copy = RocksDbSlotStore::Open(StoreOptions(folder / "copy", driver.spec()));
  ASSERT_TRUE(copy.ok()) << copy.status();
  ASSERT_EQ((*copy)->AppliedTurn(), checkpointed);
  for (const TurnRecord& record : later) {
    const TurnRecord* one = &record;
    ASSERT_TRUE((*copy)->Commit({&one, 1}).ok());
  }
  EXPECT_TRUE(*(*copy)->ReadMeta() == *driver.store()->ReadMeta());
}

TEST_P(InvariantsTest, IncrementalHashIsTheHashOfTheRowsOnDisk) {
  const Folder folder;
  EngineDriver driver(OnDisk(DriverOptions(), folder / "store"));
  RandomLog log(LogOptions(/*clear_percent=*/3));
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    entry.clear ? Clear(driver) : void(Train(driver, entry.rows));
    Hash128 sum;
    for (uint32_t p = 0; p < driver.spec().partitions; ++p) {
      ASSERT_TRUE(driver.store()->ScanPartition(Partition(p), [&](const SlotRow& row) {
        sum += SlotHash(row.slot.value, row.value, row.written_step.value, row.hits, row.key);
        return absl::OkStatus();
      }).ok());
    }
    ASSERT_EQ(driver.state().state_hash, sum);
    ASSERT_EQ(driver.store()->ReadMeta()->state_hash, sum);
  }
}

// --- 7 -------------------------------------------------------------------------------------------------------------

TEST_P(InvariantsTest, EvictedIsAmongTheOldestEligibleWithinTheNoise) {
  EngineDriver driver(DriverOptions());
  Shadow shadow;
  RandomLog log(LogOptions());
  uint64_t evictions = 0;
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    const ObserveReply reply = Train(driver, entry.rows);
    // Written steps of the slots that may be evicted: of an ATOMIC batch those that none of its rows hits or merges
    // with, and that it has not written yet.
    std::map<uint64_t, uint64_t> eligible;
    for (const auto& [slot, content] : shadow.live) eligible[slot] = content.written_step;
    for (size_t r = 0; r < entry.rows.size() && !spec.sequential; ++r) {
      if (reply.outcomes[r] == evoke::Outcome::kHit || reply.outcomes[r] == evoke::Outcome::kMerged) eligible.erase(reply.slots[r]);
    }
    uint64_t step = shadow.step;
    for (size_t r = 0; r < entry.rows.size(); ++r) {
      if (!entry.rows[r].write || entry.rows[r].skip) continue;
      ++step;
      if (reply.outcomes[r] == evoke::Outcome::kEvict) {
        uint64_t oldest = step;
        for (const auto& [slot, written] : eligible) oldest = std::min(oldest, written);
        ASSERT_TRUE(eligible.contains(reply.slots[r])) << "row " << r << " evicted what it must not";
        ASSERT_LE(eligible.at(reply.slots[r]), oldest + spec.age_noise) << "row " << r;
        ++evictions;
      }
      if (reply.outcomes[r] == evoke::Outcome::kDropped) {
        ASSERT_TRUE(eligible.empty()) << "row " << r << " was dropped although a slot could go";
      } else if (spec.sequential) {
        eligible[reply.slots[r]] = step;
      } else {
        eligible.erase(reply.slots[r]);
      }
    }
    shadow.Apply(entry.rows, reply);
  }
  EXPECT_GT(evictions, 100u);
}

TEST(EvictionTest, SurvivorsOfAnAllMissRunWithoutNoiseAreTheLastWrites) {
  for (const bool sequential : {false, true}) {
    constexpr uint64_t kCapacity = 37;
    EngineDriver driver({.spec = {.key_dim = 8, .capacity = kCapacity, .choose_k = 4, .sequential = sequential},
                         .engine = {.shards = 3}});
    RandomBits bits(Seed());
    int64_t value = 0;
    for (int i = 0; i < kEntries; ++i) {
      std::vector<ModelRow> rows(1 + bits.Below(kCapacity));
      for (ModelRow& row : rows) {
        for (int e = 0; e < 8; ++e) row.x.push_back(static_cast<float>(bits.Between(-50, 50)) + 0.5f);
        row.value = ++value;  // a value that nobody has: a miss
      }
      Train(driver, rows);
      std::set<int64_t> survivors;
      for (const SlotAnswer& slot : AllSlots(driver)) {
        survivors.insert(slot.content.state.value);
        EXPECT_EQ(slot.content.state.written_step, static_cast<uint64_t>(slot.content.state.value));
      }
      ASSERT_EQ(survivors.size(), std::min<uint64_t>(kCapacity, static_cast<uint64_t>(value)));
      ASSERT_EQ(*survivors.begin(), std::max<int64_t>(1, value - static_cast<int64_t>(kCapacity) + 1));
    }
  }
}

// --- 8 -------------------------------------------------------------------------------------------------------------

TEST_P(InvariantsTest, RetryChangesNothingAndReturnsTheFirstAnswer) {
  const Folder folder;
  EngineDriver driver(OnDisk(DriverOptions(), folder / "store"));
  RandomLogOptions log_options = LogOptions();
  log_options.no_write_percent = log_options.skip_percent = 0;
  RandomLog log(log_options);
  RandomBits bits(Seed());
  const auto task = [&](const std::vector<ModelRow>& rows, uint64_t number, absl::StatusOr<std::string>* answer) {
    absl::StatusOr<ObserveReply> unused;
    Task made = driver.ObserveTask(rows, &unused);
    auto& call = std::get<ObserveCall>(made.call);
    call.mutation = MutationId{.session = SessionId::FromView("retrying-client."),
                               .number = number,
                               .first_unacknowledged = number > 3 ? number - 3 : 1,
                               .digest = {.low = number}};
    call.encode = [](const ObserveReply& reply) {
      std::string bytes = std::to_string(reply.state.turn.value) + " " + std::to_string(reply.state.step.value);
      for (size_t i = 0; i < reply.rows; ++i) {
        bytes += " " + std::to_string(static_cast<int>(reply.outcomes[i])) + ":" + std::to_string(reply.slots[i]) + ":" +
                 std::to_string(std::bit_cast<uint32_t>(reply.losses[i]));
      }
      return bytes;
    };
    call.done = [answer](absl::StatusOr<std::string> reply) { *answer = std::move(reply); };
    return made;
  };
  std::vector<std::vector<ModelRow>> sent;
  std::vector<std::string> first_answers;
  for (uint64_t number = 1; number <= static_cast<uint64_t>(kEntries) / 2; ++number) {
    sent.push_back(log.Next().rows);
    // Twice in its own turn, then alone with older ones, perhaps after a restart.
    absl::StatusOr<std::string> first, same_turn;
    std::vector<Task> tasks;
    tasks.push_back(task(sent.back(), number, &first));
    tasks.push_back(task(sent.back(), number, &same_turn));
    ASSERT_TRUE(driver.RunTurn(std::move(tasks)).ok());
    ASSERT_TRUE(first.ok() && same_turn.ok()) << first.status() << same_turn.status();
    EXPECT_EQ(*same_turn, *first);
    first_answers.push_back(*first);
    const Hash128 hash = driver.state().state_hash;
    const StateName name = driver.state().name;
    if (bits.Percent(10)) driver.Restart();
    for (uint64_t again = number > 3 ? number - 3 : 1; again <= number; ++again) {
      absl::StatusOr<std::string> answer;
      std::vector<Task> retry;
      retry.push_back(task(sent[again - 1], again, &answer));
      ASSERT_TRUE(driver.RunTurn(std::move(retry)).ok());
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(*answer, first_answers[again - 1]);
    }
    ASSERT_EQ(driver.state().state_hash, hash);
    ASSERT_EQ(driver.state().name.turn, name.turn);
    ASSERT_EQ(driver.state().name.step, name.step);
  }
}

// --- 10 ------------------------------------------------------------------------------------------------------------

using Vector = std::vector<double>;

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += a[e] * b[e];
  return sum;
}

// d f / d x by central differences. f is of q = x / |x|.
Vector Differences(const std::vector<float>& x, const std::function<double(const Vector& q)>& f) {
  Vector gradient;
  const double h = 1e-6 * Norm64(x.data(), static_cast<int>(x.size()));
  for (size_t e = 0; e < x.size(); ++e) {
    double side[2];
    for (int sign : {0, 1}) {
      Vector q(x.begin(), x.end());
      q[e] += sign == 0 ? -h : h;
      const double norm = std::sqrt(Dot(q, q));
      for (double& c : q) c /= norm;
      side[sign] = f(q);
    }
    gradient.push_back((side[1] - side[0]) / (2 * h));
  }
  return gradient;
}

TEST_P(InvariantsTest, GradientsAgreeWithCentralDifferences) {
  EngineDriver driver(DriverOptions());
  RandomLog log(LogOptions());
  const auto dim = static_cast<size_t>(spec.key_dim);
  const double t = spec.inverse_temperature;
  int losses = 0, confidences = 0;
  for (int i = 0; i < kEntries; ++i) {
    Train(driver, log.Next().rows);
    ModelRow row = log.Next().rows[0];
    if (row.skip) continue;
    row.write = false;
    const ObserveReply keys = Train(driver, {row}, ObserveForm::kKeys);
    const ObserveReply gradients = Train(driver, {row}, ObserveForm::kGradient);
    const QueryReply query = Query(driver, {row.x}, static_cast<uint32_t>(spec.choose_k));
    const double norm = Norm64(row.x.data(), spec.key_dim);
    const Vector positive(keys.positive_keys.begin(), keys.positive_keys.end());
    const Vector negative(keys.negative_keys.begin(), keys.negative_keys.end());
    Vector q(row.x.begin(), row.x.end());
    for (double& c : q) c /= norm;

    const auto hinge = [&](const Vector& at) { return Dot(at, negative) - Dot(at, positive) + spec.margin; };
    if (std::abs(hinge(q)) > 1e-4) {
      const Vector expected = Differences(row.x, [&](const Vector& at) { return std::max(0.0, hinge(at)); });
      Vector g(dim);
      for (size_t e = 0; e < dim; ++e) g[e] = negative[e] - positive[e];
      // Below that the differences themselves are not exact: values of about 1 over steps of 1e-6.
      const double tolerance = (1e-6 * std::sqrt(Dot(g, g)) + 1e-9) / norm;
      for (size_t e = 0; e < dim; ++e) EXPECT_NEAR(gradients.gradients[e], expected[e], tolerance) << "component " << e;
      ++losses;
    }
    const size_t m = query.neighbor_count;
    if (m < 2) continue;
    std::vector<Vector> k;
    for (size_t n = 0; n < m; ++n) k.emplace_back(query.keys.begin() + static_cast<int64_t>(n * dim), query.keys.begin() + static_cast<int64_t>((n + 1) * dim));
    const auto weights = [&](const Vector& at) {
      Vector p;
      double sum = 0;
      for (const Vector& key : k) sum += p.emplace_back(std::exp(t * (Dot(at, key) - Dot(at, k[0]))));
      for (double& x : p) x /= sum;
      return p;
    };
    const Vector expected = Differences(row.x, [&](const Vector& at) { return weights(at)[0]; });
    const Vector p = weights(q);
    Vector g(dim);
    for (size_t n = 1; n < m; ++n) {
      for (size_t e = 0; e < dim; ++e) g[e] += t * p[0] * p[n] * (k[0][e] - k[n][e]);
    }
    const double relative = 2 * (1e-6 + t * (Blocks(spec.key_dim) + 8) * 0x1p-23);
    const double tolerance = (relative * std::sqrt(Dot(g, g)) + 1e-9) / norm;
    for (size_t e = 0; e < dim; ++e) {
      EXPECT_NEAR(gradients.confidence_gradients[e], expected[e], tolerance) << "component " << e;
    }
    ++confidences;
    ASSERT_FALSE(HasFailure()) << "entry " << i;
  }
  EXPECT_GT(losses, kEntries / 2);
  EXPECT_GT(confidences, kEntries / 2);
}

}  // namespace
}  // namespace evoke::testing
