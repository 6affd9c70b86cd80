// Invariants 6, 8 and 11 of semantics.md, section 7: one history is one state, and a retry is no history.
#include <gtest/gtest.h>

#include <bit>
#include <functional>

#include "server/engine/shard_state.h"
#include "server/memory/state_hash.h"

#include "tests/component/invariants.h"

namespace evoke::testing {
namespace {

class HistoryInvariantsTest : public InvariantsTestBase {};

INSTANTIATE_TEST_SUITE_P(Memories, HistoryInvariantsTest, ::testing::ValuesIn(kMemories),
                         [](const auto& info) { return info.param.name; });

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

TEST_P(HistoryInvariantsTest, OneLogGivesOneStateOnAnyThreadsShardsAndIndexInAnyTurns) {
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

TEST_P(HistoryInvariantsTest, OneLogGivesOneStateAcrossRestartsReplayAndCheckpoints) {
  const Folder folder;
  const std::vector<LogEntry> log = MakeRandomLog(LogOptions(/*clear_percent=*/2), kEntries);
  const std::vector<Hash128> expected = ReferenceHashes(spec, log);
  // Asked for one thing at a time, a shard's orders decide, and not the sorting of all it could tell.
  const EngineDriver::Options options =
      OnDisk(DriverOptions({.shards = 3, .ask_one_at_a_time = true}), folder / "store");
  EngineDriver driver(options);
  RandomBits bits(Seed() + 7);
  Turn checkpointed;
  RunInTurns(driver, log, expected, Seed(), [&](size_t done) {
    if (bits.Percent(20)) {
      driver.Restart();
      ASSERT_EQ(driver.state().state_hash, expected[done - 1]) << "recovered after entry " << done - 1;
    }
    if (checkpointed.value == 0 && done > log.size() / 2)
      checkpointed = *driver.store()->Checkpoint(folder / "copy");
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
  ASSERT_TRUE(driver.store()
                  ->ReadRecords(Turn(1),
                                [&](const DecodedTurn& turn) {
                                  ShardState::Changes changes;
                                  const absl::Status applied = replayed->Apply(turn.record, &changes);
                                  Hash128 sum;
                                  for (const auto& [partition, hash] : replayed->PartitionHashes())
                                    sum += hash;
                                  EXPECT_EQ(sum, turn.record.state_hash) << "turn " << turn.record.turn.value;
                                  if (turn.record.turn > checkpointed) later.push_back(turn.record);
                                  return applied;
                                })
                  .ok());
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

TEST_P(HistoryInvariantsTest, IncrementalHashIsTheHashOfTheRowsOnDisk) {
  const Folder folder;
  EngineDriver driver(OnDisk(DriverOptions(), folder / "store"));
  RandomLog log(LogOptions(/*clear_percent=*/3));
  for (int i = 0; i < kEntries; ++i) {
    const LogEntry entry = log.Next();
    entry.clear ? Clear(driver) : void(Train(driver, entry.rows));
    Hash128 sum;
    for (uint32_t p = 0; p < driver.spec().partitions; ++p) {
      ASSERT_TRUE(driver.store()
                      ->ScanPartition(Partition(p),
                                      [&](const SlotRow& row) {
                                        sum += SlotHash(row.slot.value, row.value, row.written_step.value,
                                                        row.hits, row.key);
                                        return absl::OkStatus();
                                      })
                      .ok());
    }
    ASSERT_EQ(driver.state().state_hash, sum);
    ASSERT_EQ(driver.store()->ReadMeta()->state_hash, sum);
  }
}

TEST_P(HistoryInvariantsTest, RetryChangesNothingAndReturnsTheFirstAnswer) {
  const Folder folder;
  EngineDriver driver(OnDisk(DriverOptions(), folder / "store"));
  RandomLogOptions log_options = LogOptions();
  log_options.no_write_percent = log_options.skip_percent = 0;
  RandomLog log(log_options);
  RandomBits bits(Seed());
  const auto task = [&](const std::vector<ModelRow>& rows, uint64_t number,
                        absl::StatusOr<std::string>* answer) {
    absl::StatusOr<ObserveReply> unused;
    Task made = driver.ObserveTask(rows, &unused);
    auto& call = std::get<ObserveCall>(made.call);
    call.mutation = MutationId{.session = SessionId::FromView("retrying-client."),
                               .number = number,
                               .first_unacknowledged = number > 3 ? number - 3 : 1,
                               .digest = {.low = number}};
    call.encode = [](const ObserveReply& reply) {
      std::string bytes =
          std::to_string(reply.state.turn.value) + " " + std::to_string(reply.state.step.value);
      for (size_t i = 0; i < reply.rows; ++i) {
        bytes += " " + std::to_string(static_cast<int>(reply.outcomes[i])) + ":" +
                 std::to_string(reply.slots[i]) + ":" +
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

}  // namespace
}  // namespace evoke::testing
