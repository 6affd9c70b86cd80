// Power loss and syncs that fail: what is recovered is the acknowledged prefix, and at most one whole turn more.
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "tests/component/faulty_memory.h"

namespace evoke::testing {
namespace {

using Loss = FaultFileSystem::Loss;
using SyncFault = FaultFileSystem::SyncFault;

#ifdef EVOKE_SLOW
constexpr int kRounds = 200;
#else
constexpr int kRounds = 8;
#endif

class PowerLossTest : public ::testing::TestWithParam<std::tuple<Loss, bool>> {};

TEST_P(PowerLossTest, KeepsEveryTurnThatWasAcknowledgedAsDurable) {
  const auto [loss, flush_often] = GetParam();
  RandomBits bits(TestSeed());
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << TestSeed());
  FaultyMemory memory({.durability = Durability::kFsync, .seed = TestSeed(), .flush_often = flush_often});
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    memory.Start();
    ASSERT_FALSE(HasFatalFailure());
    const uint64_t turns = bits.Below(12);
    // In every other round the power goes while a commit is under way.
    std::thread killer;
    if (bits.Percent(50)) killer = std::thread([&] { memory.disk().CutPower(); });
    for (uint64_t i = 0; i < turns && memory.Train() == "OK"; ++i) {
    }
    if (killer.joinable()) killer.join();
    memory.LosePower(loss, bits.Next());
  }
  memory.Start();
  memory.TrainUntilOk();
}

TEST_P(PowerLossTest, LeavesAWalMemoryInTheStateOfAnEarlierTurn) {
  const auto [loss, flush_often] = GetParam();
  RandomBits bits(TestSeed());
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << TestSeed());
  FaultyMemory memory({.durability = Durability::kWal, .seed = TestSeed(), .flush_often = flush_often});
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    memory.Open();
    ASSERT_EQ(memory.executor()->figures().state, MemoryState::kServing) << memory.executor()->figures().why;
    memory.ExpectStateOfSomeTurnFrom(0);
    ASSERT_FALSE(HasFatalFailure());
    for (uint64_t turns = bits.Below(12); turns > 0; --turns) ASSERT_EQ(memory.Train(), "OK");
    memory.LosePower(loss, bits.Next());
  }
  memory.Open();
  memory.ExpectStateOfSomeTurnFrom(0);
}

INSTANTIATE_TEST_SUITE_P(Losses, PowerLossTest,
                         ::testing::Combine(::testing::Values(Loss::kEverything, Loss::kSome), ::testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == Loss::kEverything ? "Everything" : "Some") +
                                  (std::get<1>(info.param) ? "Flushing" : "");
                         });

TEST(TornLogTest, AnEndCutAnywhereLeavesAPrefixOfWholeTurns) {
  FaultyMemory memory({.durability = Durability::kWal});
  memory.Start();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.Stop();
  ASSERT_EQ(memory.Files(".log").size(), 1u);
  const std::string log = memory.Files(".log")[0];
  RandomBits bits(TestSeed());
  uint64_t size = std::filesystem::file_size(log);
  uint64_t last = 10;
  // Opening starts a new log, so every cut is made in a copy of this one.
  const std::string whole = memory.store_path() + ".whole";
  std::filesystem::copy(memory.store_path(), whole, std::filesystem::copy_options::recursive);
  for (int cuts = 0; cuts < 12; ++cuts) {
    size = bits.Below(size);
    SCOPED_TRACE(::testing::Message() << "cut to " << size << " bytes");
    std::filesystem::remove_all(memory.store_path());
    std::filesystem::copy(whole, memory.store_path(), std::filesystem::copy_options::recursive);
    std::filesystem::resize_file(log, size);
    memory.Open();
    memory.ExpectStateOfSomeTurnFrom(0);
    ASSERT_FALSE(::testing::Test::HasFailure());
    EXPECT_LE(memory.turn(), last);
    last = memory.turn();
    memory.Stop();
    if (size == 0) break;
  }
}

TEST(FailedSyncTest, TheTurnIsThereAfterwardsOrNotAndTheReloadedSessionTellsWhich) {
  for (const SyncFault fault : {SyncFault::kFailsDataKept, SyncFault::kFailsDataLost}) {
    SCOPED_TRACE(fault == SyncFault::kFailsDataKept ? "kept" : "lost");
    FaultyMemory memory({.durability = Durability::kFsync});
    memory.Start();
    for (int i = 0; i < 5; ++i) ASSERT_EQ(memory.Train(), "OK");
    memory.disk().FailSyncs(fault);
    EXPECT_EQ(memory.Train(), "COMMIT_UNKNOWN");
    memory.AwaitState(MemoryState::kServing);
    memory.ExpectStateOfSomeTurnFrom(5);
    EXPECT_EQ(memory.turn(), fault == SyncFault::kFailsDataKept ? 6u : 5u);
    EXPECT_EQ(memory.Train(), "OK");  // the same number; the oracle counts it once
    EXPECT_EQ(memory.turn(), 6u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(memory.Train(), "OK");
    memory.LosePower(Loss::kEverything, 1);
    memory.Start();
    EXPECT_EQ(memory.turn(), 9u);
  }
}

TEST(FailedSyncTest, ATurnThatCameBackAfterAFailedSyncIsDurableBeforeItIsAcknowledged) {
  FaultyMemory memory({.durability = Durability::kFsync});
  memory.Start();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.disk().FailSyncs(SyncFault::kFailsDataKept);
  EXPECT_EQ(memory.Train(), "COMMIT_UNKNOWN");
  memory.AwaitState(MemoryState::kServing);
  ASSERT_EQ(memory.Train(), "OK");  // answered from the reloaded session: no commit of its own
  memory.LosePower(Loss::kEverything, 1);
  memory.Start();
  EXPECT_EQ(memory.turn(), 4u);
}

TEST(FailedSyncTest, ManyFailuresNeitherLoseNorRepeatATurn) {
  RandomBits bits(TestSeed());
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << TestSeed());
  FaultyMemory memory({.durability = Durability::kFsync, .seed = TestSeed(), .flush_often = true});
  memory.Start();
  for (int i = 0; i < kRounds * 3; ++i) {
    if (bits.Percent(30)) {
      memory.disk().FailSyncs(bits.Percent(50) ? SyncFault::kFailsDataKept : SyncFault::kFailsDataLost,
                              static_cast<int>(bits.Below(4)));
    }
    std::string answer;
    while ((answer = memory.Train()) != "OK") {
      // Where the reload, too, meets a failing sync, the memory is read-only for a while.
      ASSERT_TRUE(answer == "COMMIT_UNKNOWN" || answer == "LOADING" || answer == "READ_ONLY_DISK") << answer;
      memory.clock().Advance(absl::Seconds(1));
      std::this_thread::yield();
    }
  }
  memory.LosePower(Loss::kEverything, 1);
  memory.Start();
}

TEST(SlowSyncTest, ATurnIsNeitherAcknowledgedNorToldOfBeforeItIsDurable) {
  FaultyMemory memory({.durability = Durability::kFsync});
  memory.Start();
  ASSERT_EQ(memory.Train(), "OK");
  memory.disk().HoldSyncs();
  std::thread trainer([&] { EXPECT_EQ(memory.Train(), "OK"); });
  memory.disk().AwaitHeldSync();
  EXPECT_EQ(memory.acknowledged(), 1u);
  EXPECT_EQ(memory.executor()->figures().turn, Turn(1));
  memory.disk().ReleaseSyncs();
  trainer.join();
  EXPECT_EQ(memory.turn(), 2u);
}

}  // namespace
}  // namespace evoke::testing
