// Shards of random memories against a map of slots: what they propose, and what a record makes of them.
#include "server/engine/local_shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "server/memory/state_hash.h"
#include "server/similarity/similarity.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InlineScheduler final : public Scheduler {
 public:
  void Post(Work work) override { work(); }
};

template <typename T, typename Call>
absl::StatusOr<T> Await(Call call) {
  std::optional<absl::StatusOr<T>> result;
  call([&](absl::StatusOr<T> r) { result = std::move(r); });
  return *std::move(result);
}

absl::StatusOr<Proposal> Propose(LocalShard& shard, const ProposeRequest& request) {
  return Await<Proposal>([&](auto done) { shard.Propose(request, done); });
}
absl::StatusOr<std::vector<SlotContent>> Fetch(LocalShard& shard, const FetchRequest& request) {
  return Await<std::vector<SlotContent>>([&](auto done) { shard.Fetch(request, done); });
}
absl::StatusOr<SlotsOfValue> ReadValue(LocalShard& shard, const SlotsOfValueRequest& request) {
  return Await<SlotsOfValue>([&](auto done) { shard.ReadValue(request, done); });
}
absl::Status Apply(LocalShard& shard, const TurnRecord& record) {
  absl::Status result = absl::UnknownError("done did not run");
  shard.Apply(std::make_shared<TurnRecord>(record), [&](absl::Status s) { result = s; });
  return result;
}
ShardFigures Figures(LocalShard& shard) {
  return *Await<ShardFigures>([&](auto done) { shard.Figures(done); });
}

std::vector<float> Unit(std::mt19937_64& random, uint32_t dim) {
  std::vector<float> x = RandomVector(random, Kind::kNormal, dim);
  Normalise(x.data(), static_cast<int>(dim), x.data());
  return x;
}

// A memory as a map, and records that lead it from turn to turn.
class Model {
 public:
  Model(std::mt19937_64* random, MemorySpec spec) : random_(*random), spec_(spec) {
    uid_.bytes[3] = 77;
    for (int i = 0; i < 5; ++i) few_keys_.push_back(Unit(random_, spec.key_dim));
  }

  // Applies itself.
  TurnRecord Next() {
    TurnRecord record{.uid = uid_, .epoch = epoch_, .turn = turn_.Next()};
    if (random_() % 25 == 0) {
      record.admin = AdminOp::kClear;
      record.epoch = epoch_.Next();
      slots_.clear();
    } else {
      for (auto it = slots_.begin(); it != slots_.end();) {
        if (random_() % 12 == 0) {
          record.freed.push_back(it->first);
          it = slots_.erase(it);
        } else {
          ++it;
        }
      }
      const uint64_t writes = random_() % (spec_.capacity / 3 + 2);
      for (uint64_t i = 0; i < writes; ++i) {
        SlotWrite write{.slot = SlotId(random_() % spec_.capacity),
                        .value = static_cast<int64_t>(random_() % 6) - 2,
                        .hits = static_cast<uint32_t>(random_() % 4)};
        if (std::any_of(record.writes.begin(), record.writes.end(),
                        [&](auto& w) { return w.slot == write.slot; })) {
          continue;
        }
        step_ = Step(step_.value + 1 + random_() % 3);
        write.written_step = step_;
        write.key =
            random_() % 2 == 0 ? few_keys_[random_() % few_keys_.size()] : Unit(random_, spec_.key_dim);
        slots_[write.slot] = write;
        record.writes.push_back(std::move(write));
      }
    }
    epoch_ = record.epoch;
    turn_ = record.turn;
    return record;
  }

  // The slots of one shard.
  std::vector<SlotWrite> Of(const std::vector<Partition>& owned) const {
    std::vector<SlotWrite> slots;
    for (const auto& [slot, write] : slots_) {
      if (std::binary_search(owned.begin(), owned.end(), Partition(slot.value % spec_.partitions)))
        slots.push_back(write);
    }
    return slots;
  }
  ReadPoint at() const { return {.uid = uid_, .epoch = epoch_, .term = Term(1), .turn = turn_}; }
  const MemorySpec& spec() const { return spec_; }
  const MemoryUid& uid() const { return uid_; }
  const std::vector<float>& few_key(size_t i) const { return few_keys_[i % few_keys_.size()]; }

 private:
  std::mt19937_64& random_;
  const MemorySpec spec_;
  MemoryUid uid_;
  Epoch epoch_{1};
  Turn turn_;
  Step step_;
  std::vector<std::vector<float>> few_keys_;
  std::map<SlotId, SlotWrite> slots_;
};

Hash128 HashOf(const SlotWrite& w) {
  return SlotHash(w.slot.value, w.value, w.written_step.value, w.hits, w.key);
}

void ExpectState(const SlotState& state, const SlotWrite& w) {
  EXPECT_EQ(state.slot, w.slot.value);
  EXPECT_EQ(state.value, w.value);
  EXPECT_EQ(state.written_step, w.written_step.value);
  EXPECT_EQ(state.hits, w.hits);
  EXPECT_EQ(state.row_hash, HashOf(w));
}

void ExpectScored(const ScoredSlot& scored, const SlotWrite& w, const float* row) {
  EXPECT_EQ(scored.slot, w.slot.value);
  EXPECT_EQ(scored.value, w.value);
  EXPECT_EQ(scored.written_step, w.written_step.value);
  EXPECT_EQ(scored.hits, w.hits);
  const float similarity = Similarity(row, w.key.data(), static_cast<int>(w.key.size()));
  EXPECT_EQ(std::memcmp(&scored.similarity, &similarity, sizeof(float)), 0);
}

// Everything in the proposal, with its bounds, against all slots of the shard.
void ExpectProposal(const ProposeRequest& request, const Proposal& proposal, std::vector<SlotWrite> slots,
                    const std::vector<Partition>& owned, const MemorySpec& spec) {
  ASSERT_EQ(proposal.rows.size(), request.wants.size());
  for (size_t i = 0; i < request.wants.size(); ++i) {
    const RowWant& want = request.wants[i];
    const RowProposal& got = proposal.rows[i];
    const float* row = request.rows->row(want.row);
    const auto rank = [&](const SlotWrite& w) {
      return Rank{Similarity(row, w.key.data(), static_cast<int>(spec.key_dim)), w.slot.value};
    };
    std::sort(slots.begin(), slots.end(), [&](auto& a, auto& b) { return Before(rank(a), rank(b)); });
    ASSERT_EQ(got.neighbors.size(), std::min<size_t>(want.neighbors, slots.size()));
    for (size_t n = 0; n < got.neighbors.size(); ++n) ExpectScored(got.neighbors[n], slots[n], row);
    if (got.bound.kind == Bound::Kind::kComplete) {
      EXPECT_EQ(got.neighbors.size(), slots.size());
    } else {
      ASSERT_EQ(got.bound.kind, Bound::Kind::kRank);
      for (size_t n = got.neighbors.size(); n < slots.size(); ++n)
        EXPECT_TRUE(Before(got.bound.rank, rank(slots[n])));
    }
    ASSERT_EQ(got.keys.size(), std::min<size_t>(want.keys, got.neighbors.size()) * spec.key_dim);
    for (size_t n = 0; n * spec.key_dim < got.keys.size(); ++n) {
      EXPECT_EQ(std::memcmp(&got.keys[n * spec.key_dim], slots[n].key.data(), sizeof(float) * spec.key_dim),
                0);
    }

    std::sort(slots.begin(), slots.end(), [](auto& a, auto& b) { return a.written_step > b.written_step; });
    std::vector<SlotWrite> of_label;
    for (const SlotWrite& w : slots) {
      if (want.label && w.value == *want.label) of_label.push_back(w);
    }
    ASSERT_EQ(got.of_label.size(), std::min<size_t>(want.of_label, of_label.size()));
    for (size_t n = 0; n < got.of_label.size(); ++n) ExpectScored(got.of_label[n], of_label[n], row);
    EXPECT_EQ(got.of_label_complete, got.of_label.size() == of_label.size());
  }

  std::sort(slots.begin(), slots.end(), [](auto& a, auto& b) { return a.written_step < b.written_step; });
  ASSERT_EQ(proposal.oldest.size(), std::min<size_t>(request.oldest, slots.size()));
  for (size_t n = 0; n < proposal.oldest.size(); ++n) ExpectState(proposal.oldest[n], slots[n]);
  EXPECT_EQ(proposal.oldest_complete, proposal.oldest.size() == slots.size());

  std::vector<uint64_t> free;
  for (uint64_t slot = 0; slot < spec.capacity; ++slot) {
    const bool ours = std::binary_search(owned.begin(), owned.end(), Partition(slot % spec.partitions));
    const bool live = std::any_of(slots.begin(), slots.end(), [&](auto& w) { return w.slot.value == slot; });
    if (ours && !live) free.push_back(slot);
  }
  EXPECT_EQ(proposal.free_complete, free.size() <= request.free);
  free.resize(std::min<size_t>(free.size(), request.free));
  EXPECT_EQ(proposal.free_slots, free);
  EXPECT_EQ(proposal.live_count, slots.size());

  ASSERT_EQ(proposal.counts.size(), request.count_values.size());
  for (size_t i = 0; i < proposal.counts.size(); ++i) {
    ValueCount expected{.value = request.count_values[i]};
    for (const SlotWrite& w : slots) {
      if (w.value != expected.value) continue;
      ++expected.live_slots;
      expected.observations += 1 + w.hits;
    }
    EXPECT_EQ(proposal.counts[i].value, expected.value);
    EXPECT_EQ(proposal.counts[i].live_slots, expected.live_slots);
    EXPECT_EQ(proposal.counts[i].observations, expected.observations);
  }
}

void ExpectHashes(const LocalShard& shard, const std::vector<SlotWrite>& slots, uint32_t partitions) {
  std::map<Partition, Hash128> expected;
  for (const SlotWrite& w : slots) expected[Partition(w.slot.value % partitions)] += HashOf(w);
  for (const auto& [partition, hash] : shard.PartitionHashes()) EXPECT_EQ(hash, expected[partition]);
}

class LocalShardTest : public ::testing::Test {
 protected:
  std::unique_ptr<LocalShard> Make(const Model& model, const std::vector<Partition>& owned, const char* index,
                                   Scheduler* scheduler, bool finish = true) {
    auto shard = LocalShard::Create({.spec = model.spec(),
                                     .uid = model.uid(),
                                     .partitions = owned,
                                     .index = index,
                                     .scheduler = scheduler,
                                     .width = 2});
    EXPECT_TRUE(shard.ok()) << shard.status();
    if (finish) (*shard)->FinishLoad(Turn(0), Epoch(1));
    return *std::move(shard);
  }
  // A random table of partitions for up to `most` shards, none without a partition.
  std::vector<std::vector<Partition>> RandomOwners(uint32_t partitions, uint32_t most) {
    const uint32_t count = 1 + static_cast<uint32_t>(random_() % std::min(partitions, most));
    std::vector<std::vector<Partition>> owned(count);
    for (uint32_t p = 0; p < partitions; ++p) {
      owned[p < count ? p : random_() % count].push_back(Partition(p));
    }
    return owned;
  }
  MemorySpec RandomSpec() {
    return {.key_dim = 1 + static_cast<uint32_t>(random_() % 20),
            .capacity = 1 + random_() % 150,
            .partitions = 1u << (random_() % 7)};
  }
  ProposeRequest RandomRequest(const Model& model, bool one_of_everything) {
    auto rows = std::make_shared<PackedRows>();
    rows->dim = model.spec().key_dim;
    ProposeRequest request{.at = model.at(), .rows = rows};
    const uint32_t most = one_of_everything ? 1 : 200;
    for (uint32_t r = 0; r < 4; ++r) {
      const std::vector<float> row = r < 2 ? model.few_key(random_()) : Unit(random_, rows->dim);
      rows->data.insert(rows->data.end(), row.begin(), row.end());
      RowWant want{.row = r,
                   .neighbors = one_of_everything ? 1 : static_cast<uint32_t>(random_() % most),
                   .keys = one_of_everything ? 1 : static_cast<uint32_t>(random_() % 9)};
      if (random_() % 4 != 0) want.label = static_cast<int64_t>(random_() % 7) - 2;
      want.of_label = one_of_everything ? 1 : static_cast<uint32_t>(random_() % 5);
      request.wants.push_back(want);
    }
    request.oldest = one_of_everything ? 1 : static_cast<uint32_t>(random_() % most);
    request.free = one_of_everything ? 1 : static_cast<uint32_t>(random_() % most);
    request.count_values = {-2, 0, 3, 99};
    return request;
  }

  std::mt19937_64 random_ = SeededGenerator();
  InlineScheduler inline_;
};

// Whole records and slices lead random memories of random P and S to the same states; proposals are complete
// to their bounds; a repeated record is nothing, a later one a gap; and loading the rows leads to the same
// again.
TEST_F(LocalShardTest, AgreesWithAMapOnRandomMemoriesAndTables) {
  for (int memory = 0; memory < 25; ++memory) {
    Model model(&random_, RandomSpec());
    const uint32_t partitions = model.spec().partitions;
    const char* index = memory % 2 == 0 ? "flat" : "faiss_flat";
    const std::vector<std::vector<Partition>> owned = RandomOwners(partitions, 5);
    std::vector<std::unique_ptr<LocalShard>> whole, sliced;
    for (const auto& partitions_of : owned) {
      whole.push_back(Make(model, partitions_of, index, &inline_));
      sliced.push_back(Make(model, partitions_of, "flat", &inline_));
    }
    for (int turn = 0; turn < 40; ++turn) {
      const TurnRecord record = model.Next();
      TurnRecord later = record;
      later.turn = record.turn.Next();
      const ProposeRequest request = RandomRequest(model, turn % 2 == 0);
      for (size_t s = 0; s < owned.size(); ++s) {
        EXPECT_EQ(Apply(*whole[s], later).code(), absl::StatusCode::kOutOfRange);
        ASSERT_TRUE(Apply(*whole[s], record).ok());
        ASSERT_TRUE(Apply(*sliced[s], record.Slice(partitions, [&](Partition p) {
                      return std::binary_search(owned[s].begin(), owned[s].end(), p);
                    })).ok());
        ASSERT_TRUE(Apply(*whole[s], record).ok());  // again: nothing
        const std::vector<SlotWrite> slots = model.Of(owned[s]);
        ExpectHashes(*whole[s], slots, partitions);
        EXPECT_EQ(whole[s]->PartitionHashes(), sliced[s]->PartitionHashes());
        const absl::StatusOr<Proposal> proposal = Propose(*whole[s], request);
        ASSERT_TRUE(proposal.ok()) << proposal.status();
        ExpectProposal(request, *proposal, slots, owned[s], model.spec());
        if (turn % 10 == 9) {
          std::unique_ptr<LocalShard> loaded = Make(model, owned[s], index, &inline_, /*finish=*/false);
          std::vector<SlotWrite> shuffled = slots;
          std::shuffle(shuffled.begin(), shuffled.end(), random_);
          for (const SlotWrite& w : shuffled) {
            ASSERT_TRUE(loaded->Load(w.slot, w.value, w.written_step, w.hits, w.key).ok());
          }
          loaded->FinishLoad(record.turn, record.epoch);
          EXPECT_EQ(loaded->PartitionHashes(), whole[s]->PartitionHashes());
          ExpectProposal(request, *Propose(*loaded, request), slots, owned[s], model.spec());
        }
        if (HasFailure()) FAIL() << "memory " << memory << ", turn " << turn << ", shard " << s;
      }
    }
  }
}

TEST_F(LocalShardTest, FetchAndReadValueTellWhatLives) {
  Model model(&random_, {.key_dim = 5, .capacity = 50, .partitions = 4});
  const std::vector<Partition> owned{Partition(1), Partition(2)};
  std::unique_ptr<LocalShard> shard = Make(model, owned, "flat", &inline_);
  for (int turn = 0; turn < 30; ++turn) {
    ASSERT_TRUE(Apply(*shard, model.Next()).ok());
    std::vector<SlotWrite> slots = model.Of(owned);
    FetchRequest fetch{.at = model.at()};
    for (uint64_t slot = 0; slot < 50; ++slot) {
      if (slot % 4 == 1 || slot % 4 == 2) fetch.slots.push_back(slot);
    }
    const auto contents = Fetch(*shard, fetch);
    ASSERT_TRUE(contents.ok());
    ASSERT_EQ(contents->size(), slots.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      ExpectState((*contents)[i].state, slots[i]);
      EXPECT_EQ((*contents)[i].key, slots[i].key);
    }
    std::sort(slots.begin(), slots.end(), [](auto& a, auto& b) { return a.written_step > b.written_step; });
    std::erase_if(slots, [](const SlotWrite& w) { return w.value != 1; });
    const auto of_value =
        ReadValue(*shard, {.at = model.at(), .value = 1, .limit = 2, .keys = turn % 2 == 0});
    ASSERT_TRUE(of_value.ok());
    EXPECT_EQ(of_value->count.live_slots, slots.size());
    ASSERT_EQ(of_value->slots.size(), std::min<size_t>(2, slots.size()));
    for (size_t i = 0; i < of_value->slots.size(); ++i) {
      ExpectState(of_value->slots[i].state, slots[i]);
      EXPECT_EQ(of_value->slots[i].key, turn % 2 == 0 ? slots[i].key : std::vector<float>());
    }
  }
  EXPECT_EQ(Fetch(*shard, {.at = model.at(), .slots = {4}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Fetch(*shard, {.at = model.at(), .slots = {53}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(LocalShardTest, AnswersAtExactlyItsTurnAndAtNoOther) {
  Model model(&random_, {.key_dim = 4, .capacity = 20, .partitions = 1});
  std::unique_ptr<LocalShard> shard = Make(model, {Partition(0)}, "flat", &inline_);
  for (int turn = 0; turn < 10; ++turn) {
    const ProposeRequest before = RandomRequest(model, false);
    const std::vector<SlotWrite> slots_before = model.Of({Partition(0)});
    const TurnRecord record = model.Next();  // the shard is a turn late
    const absl::StatusOr<Proposal> late = Propose(*shard, before);
    ASSERT_TRUE(late.ok());
    ExpectProposal(before, *late, slots_before, {Partition(0)}, model.spec());
    EXPECT_EQ(Propose(*shard, RandomRequest(model, true)).status().code(),
              absl::StatusCode::kFailedPrecondition);
    ASSERT_TRUE(Apply(*shard, record).ok());
    EXPECT_EQ(Propose(*shard, before).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  ReadPoint at = model.at();
  at.epoch = at.epoch.Next();
  EXPECT_EQ(Fetch(*shard, {.at = at}).status().code(), absl::StatusCode::kFailedPrecondition);
  at = model.at();
  at.uid.bytes[0] ^= 1;
  EXPECT_EQ(ReadValue(*shard, {.at = at}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LocalShardTest, ARecordThatNoEngineWritesIsRefusedAndChangesNothing) {
  Model model(&random_, {.key_dim = 4, .capacity = 64, .partitions = 2});
  const std::vector<Partition> owned{Partition(0), Partition(1)};
  std::unique_ptr<LocalShard> shard = Make(model, owned, "flat", &inline_);
  TurnRecord good = model.Next();
  while (good.writes.size() < 2) {
    ASSERT_TRUE(Apply(*shard, good).ok());
    good = model.Next();
  }
  const auto hashes = shard->PartitionHashes();
  std::vector<TurnRecord> bad(5, good);
  bad[0].uid.bytes[5] ^= 8;
  bad[1].writes.back().key.pop_back();
  bad[2].writes.back().slot = SlotId(64);
  std::swap(bad[3].writes.front().written_step, bad[3].writes.back().written_step);
  bad[4].freed.push_back(SlotId(~uint64_t{0}));
  for (const TurnRecord& record : bad) {
    EXPECT_FALSE(Apply(*shard, record).ok());
    EXPECT_EQ(shard->PartitionHashes(), hashes);
  }
  EXPECT_TRUE(Apply(*shard, good).ok());
  ExpectHashes(*shard, model.Of(owned), 2);
}

TEST_F(LocalShardTest, LoadRefusesRowsThatAreNotTheShards) {
  Model model(&random_, {.key_dim = 2, .capacity = 10, .partitions = 4});
  std::unique_ptr<LocalShard> shard = Make(model, {Partition(3)}, "flat", &inline_, /*finish=*/false);
  const std::vector<float> key{1, 0};
  EXPECT_TRUE(shard->Load(SlotId(7), 1, Step(1), 0, key).ok());
  for (const uint64_t slot : {7, 6, 11}) {
    EXPECT_EQ(shard->Load(SlotId(slot), 1, Step(2), 0, key).code(), absl::StatusCode::kDataLoss) << slot;
  }
  EXPECT_EQ(shard->Load(SlotId(3), 1, Step(2), 0, {key.data(), 1}).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LocalShardTest, CreateRefusesWhatDoesNotExist) {
  const MemorySpec spec{.key_dim = 2, .capacity = 10, .partitions = 4};
  const auto code = [&](std::vector<Partition> owned, const char* index) {
    return LocalShard::Create({.spec = spec, .partitions = owned, .index = index, .scheduler = &inline_})
        .status()
        .code();
  };
  EXPECT_EQ(code({Partition(0)}, "flat"), absl::StatusCode::kOk);
  EXPECT_EQ(code({Partition(0)}, "hnsw"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({}, "flat"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({Partition(4)}, "flat"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({Partition(2), Partition(1)}, "flat"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({Partition(1), Partition(1)}, "flat"), absl::StatusCode::kInvalidArgument);
}

TEST_F(LocalShardTest, FiguresSampleWrittenStepsInAscendingOrder) {
  Model model(&random_, {.key_dim = 2, .capacity = 10'000, .partitions = 1});
  std::unique_ptr<LocalShard> shard = Make(model, {Partition(0)}, "flat", &inline_);
  EXPECT_TRUE(Figures(*shard).sampled_steps.empty());
  TurnRecord record{.uid = model.uid(), .epoch = Epoch(1), .turn = Turn(1)};
  for (uint64_t i = 0; i < 1000; ++i) {
    record.writes.push_back({.slot = SlotId(i * 7 % 1000),
                             .value = static_cast<int64_t>(i % 10),
                             .written_step = Step(3 * i + 1),
                             .key = {1, 0}});
  }
  ASSERT_TRUE(Apply(*shard, record).ok());
  const ShardFigures figures = Figures(*shard);
  EXPECT_EQ(figures.turn, Turn(1));
  EXPECT_EQ(figures.capacity, 10'000u);
  EXPECT_EQ(figures.live_count, 1000u);
  EXPECT_EQ(figures.distinct_values, 10u);
  EXPECT_GT(figures.memory_bytes, 1000u * 28);
  EXPECT_EQ(figures.sampled_steps.size(), 250u);  // every fourth of 1,000: at most 256
  EXPECT_TRUE(std::is_sorted(figures.sampled_steps.begin(), figures.sampled_steps.end()));
  for (const uint64_t step : figures.sampled_steps) EXPECT_EQ(step % 3, 1u);
  EXPECT_GT(figures.sampled_steps.back(), 2500u);
  EXPECT_LT(figures.sampled_steps.front(), 500u);
}

TEST_F(LocalShardTest, FiguresCountRowsSlotsAndSampledNeighbors) {
  Model model(&random_, {.key_dim = 4, .capacity = 200, .partitions = 1});
  std::unique_ptr<LocalShard> shard = Make(model, {Partition(0)}, "flat", &inline_);
  TurnRecord record{.uid = model.uid(), .epoch = Epoch(1), .turn = Turn(1)};
  auto rows = std::make_shared<PackedRows>(PackedRows{.dim = 4});
  for (uint64_t i = 0; i < 100; ++i) {
    const std::vector<float> key = Unit(random_, 4);
    record.writes.push_back({.slot = SlotId(i), .value = 1, .written_step = Step(i + 1), .key = key});
    if (i < 3) rows->data.insert(rows->data.end(), key.begin(), key.end());
  }
  ASSERT_TRUE(Apply(*shard, record).ok());
  ProposeRequest request{.at = {.uid = model.uid(), .epoch = Epoch(1), .term = Term(1), .turn = Turn(1)}, .rows = rows};
  for (uint32_t r = 0; r < 3; ++r) request.wants.push_back({.row = r, .neighbors = 5});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Propose(*shard, request).ok());
  const ShardFigures figures = Figures(*shard);
  EXPECT_EQ(figures.written_slots, 100u);
  EXPECT_EQ(figures.searched_rows, 6u);
  EXPECT_EQ(figures.recall_found, 15u);  // of the first search only: figures grant one look
  EXPECT_EQ(figures.recall_missed, 0u);
  ASSERT_TRUE(Propose(*shard, request).ok());
  EXPECT_EQ(Figures(*shard).recall_found, 30u);
}

// Calls from several threads, on a pool, while searches fan out over it: in the order of each caller's calls.
TEST_F(LocalShardTest, CallsFromManyThreadsAreServedOneAtATime) {
  Model model(&random_, {.key_dim = 16, .capacity = 3000, .partitions = 8});
  const std::vector<std::vector<Partition>> owned = RandomOwners(8, 3);
  std::vector<TurnRecord> records;
  for (int turn = 0; turn < 20; ++turn) records.push_back(model.Next());
  const ProposeRequest request = RandomRequest(model, false);
  ThreadPool pool("shard", 4);
  std::vector<std::unique_ptr<LocalShard>> shards;
  for (size_t s = 0; s < owned.size(); ++s)
    shards.push_back(Make(model, owned[s], s % 2 ? "faiss_flat" : "flat", &pool));
  std::vector<Proposal> proposals(owned.size());
  std::vector<std::thread> callers;
  for (size_t s = 0; s < owned.size(); ++s) {
    callers.emplace_back([&, s] {
      Mutex mu;
      CondVar all_done;
      size_t left = records.size() + 2;
      const auto one_done = [&] {
        MutexLock lock(&mu);
        if (--left == 0) all_done.SignalAll();
      };
      for (const TurnRecord& record : records) {
        shards[s]->Apply(std::make_shared<TurnRecord>(record), [&](absl::Status status) {
          EXPECT_TRUE(status.ok()) << status;
          one_done();
        });
      }
      shards[s]->Figures([&](absl::StatusOr<ShardFigures> figures) {
        EXPECT_EQ(figures->turn, records.back().turn);
        one_done();
      });
      shards[s]->Propose(request, [&](absl::StatusOr<Proposal> proposal) {
        EXPECT_TRUE(proposal.ok()) << proposal.status();
        if (proposal.ok()) proposals[s] = *std::move(proposal);
        one_done();
      });
      MutexLock lock(&mu);
      while (left > 0) all_done.Wait(&mu);
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (size_t s = 0; s < owned.size(); ++s) {
    ExpectProposal(request, proposals[s], model.Of(owned[s]), owned[s], model.spec());
  }
}

TEST(SlotMapTest, PositionsFollowTheOrderOfSlotsWithoutHoles) {
  std::mt19937_64 random = SeededGenerator();
  for (int i = 0; i < 300; ++i) {
    const uint32_t partitions = 1u << (random() % 7);
    const uint64_t capacity = 1 + random() % 300;
    std::vector<std::vector<Partition>> owned(2);
    for (uint32_t p = 0; p < partitions; ++p) owned[random() % 2].push_back(Partition(p));
    for (const auto& ours : owned) {
      if (ours.empty()) continue;
      const SlotMap map(capacity, partitions, ours);
      uint32_t next = 0;
      for (uint64_t slot = 0; slot < capacity + 5; ++slot) {
        const bool in =
            slot < capacity && std::binary_search(ours.begin(), ours.end(), Partition(slot % partitions));
        ASSERT_EQ(map.Owns(slot), in);
        if (!in) continue;
        ASSERT_EQ(map.PositionOf(slot), next);
        ASSERT_EQ(map.SlotAt(next), slot);
        ++next;
      }
      ASSERT_EQ(map.capacity(), next);
    }
  }
}

}  // namespace
}  // namespace evoke
