// A disk that is full or fails, and later is not: reads go on, writes are refused, and the memory comes back by
// itself with nothing lost and nothing twice.
#include <gtest/gtest.h>

#include <thread>

#include "server/engine/alarms.h"
#include "tests/component/faulty_memory.h"

namespace evoke::testing {
namespace {

constexpr uint64_t kUnlimited = FaultFileSystem::kUnlimited;

#ifdef EVOKE_SLOW
constexpr int kRounds = 200;
#else
constexpr int kRounds = 5;
#endif

TEST(DiskFullTest, ReadsGoOnWritesAreRefusedAndItClearsByItself) {
  FaultyMemory memory({});
  memory.Start();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.disk().SetFreeBytes(100);
  EXPECT_EQ(memory.Train(), "COMMIT_UNKNOWN");
  memory.AwaitState(MemoryState::kReadOnly);
  EXPECT_EQ(AlarmOf(memory.executor()->figures()), kDiskAlarm);
  for (int i = 0; i < 40; ++i) {  // some twenty attempts, all in vain
    memory.clock().Advance(absl::Seconds(30));
    EXPECT_EQ(memory.Query(/*payloads=*/true), "OK");
    EXPECT_EQ(memory.Train(), "READ_ONLY_DISK");
  }
  memory.ExpectStateOfSomeTurnFrom(5);
  memory.disk().SetFreeBytes(kUnlimited);
  memory.AwaitState(MemoryState::kServing);
  EXPECT_EQ(AlarmOf(memory.executor()->figures()), "");
  memory.TrainUntilOk();  // the same number
  EXPECT_EQ(memory.turn(), 6u);
}

TEST(DiskFullTest, FullAtAnyByteItLosesNothingAndRepeatsNothing) {
  RandomBits bits(TestSeed());
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << TestSeed());
  for (const bool flush_often : {false, true}) {
    FaultyMemory memory({.seed = TestSeed(), .flush_often = flush_often});
    memory.Start();
    for (int round = 0; round < kRounds; ++round) {
      SCOPED_TRACE(round);
      memory.disk().SetFreeBytes(bits.Below(30'000));
      std::string answer = "OK";
      for (int i = 0; i < 200 && (answer == "OK" || answer == "LOADING"); ++i) answer = memory.Train();
      memory.disk().SetFreeBytes(kUnlimited);
      memory.AwaitState(MemoryState::kServing);
      memory.ExpectStateOfSomeTurnFrom(memory.acknowledged());
      memory.TrainUntilOk();
      ASSERT_FALSE(::testing::Test::HasFailure());
    }
    memory.LosePower(FaultFileSystem::Loss::kEverything, 1);
    memory.Start();
  }
}

TEST(DiskFullTest, AnAttemptThatFailsAfterTheDiskTookAWriteDropsNoReader) {
  FaultyMemory memory({});
  memory.Start();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.disk().SetFreeBytes(0);
  EXPECT_EQ(memory.Train(), "COMMIT_UNKNOWN");
  memory.AwaitState(MemoryState::kReadOnly);
  for (int i = 0; i < 10; ++i) {
    memory.disk().SetFreeBytes(FaultyMemory::kProbeBytes + 10);  // too little for a new log and manifest
    while (memory.disk().free_bytes() > 0) {
      memory.clock().Advance(absl::Seconds(10));
      EXPECT_EQ(memory.Query(/*payloads=*/true), "OK");
    }
    EXPECT_EQ(memory.executor()->figures().state, MemoryState::kReadOnly);
  }
  memory.disk().SetFreeBytes(kUnlimited);
  memory.AwaitState(MemoryState::kServing);
  memory.TrainUntilOk();
}

TEST(DiskFullTest, FullFromTheStartItIsReadAndLaterWritten) {
  FaultyMemory memory({});
  memory.Start();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.Stop();
  memory.disk().SetFreeBytes(0);
  memory.Open();
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kReadOnly);
  memory.ExpectStateOfSomeTurnFrom(5);
  EXPECT_EQ(memory.Query(), "OK");
  memory.disk().SetFreeBytes(kUnlimited);
  memory.AwaitState(MemoryState::kServing);
  memory.TrainUntilOk();
}

TEST(DiskFullTest, AStoreThatCannotBeReadComesBackWhenItCan) {
  FaultyMemory memory({.flush_often = true});
  memory.Start();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(memory.Train(), "OK");
  memory.Stop();
  memory.disk().FailReads(".sst");
  memory.Open();
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kFailed);
  EXPECT_EQ(memory.Query(), "MEMORY_FAILED");
  EXPECT_EQ(AlarmOf(memory.executor()->figures()), kDiskAlarm) << "an error of the disk is no damage";
  memory.disk().FailReads("");
  memory.AwaitState(MemoryState::kServing);
  memory.ExpectStateOfSomeTurnFrom(20);
}

TEST(DiskGuardTest, RefusesWritesBelowTheReserveBeforeAnythingIsTried) {
  constexpr uint64_t kReserve = 1'600'000;
  FaultyMemory memory({.reserve_bytes = kReserve});
  memory.Start();
  ASSERT_EQ(memory.Train(), "OK");
  const auto look = [&](uint64_t bytes) {
    memory.disk().SetFreeBytes(bytes);
    memory.clock().Advance(absl::Seconds(1));
    memory.AwaitLook();
  };
  look(kReserve - 1);
  EXPECT_EQ(memory.Train(), "READ_ONLY_DISK");
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kReadOnly);
  EXPECT_EQ(AlarmOf(memory.executor()->figures()), kDiskAlarm);
  EXPECT_EQ(memory.disk().free_bytes(), kReserve - 1) << "something was written";
  EXPECT_EQ(memory.Query(), "OK");
  look(kReserve);
  EXPECT_EQ(memory.Train(), "READ_ONLY_DISK") << "no more than the reserve: it would flap";
  look(kReserve + kReserve / 16);
  EXPECT_EQ(memory.Train(), "OK");
  EXPECT_EQ(memory.executor()->figures().state, MemoryState::kServing);
  EXPECT_EQ(memory.turn(), 2u);
}

TEST(AlarmsTest, AreToldOfOnceWhenRaisedAndOnceWhenCleared) {
  ManualClock clock;
  std::vector<std::string> told;
  Alarms alarms(&clock, [&](const Alarm& a, bool raised) { told.push_back(a.memory + (raised ? " +" : " -") + a.name); });
  MemoryFigures a{.name = "a", .state = MemoryState::kServing};
  MemoryFigures b{.name = "b", .state = MemoryState::kFailed, .why = absl::DataLossError("slot 3")};
  alarms.Update({a, b});
  clock.Advance(absl::Seconds(5));
  a.state = MemoryState::kReadOnly;
  alarms.Update({a, b});
  ASSERT_EQ(alarms.Active().size(), 2u);
  EXPECT_EQ(alarms.Active()[1].message, "slot 3");
  EXPECT_EQ(alarms.Active()[0].since - alarms.Active()[1].since, absl::Seconds(5));
  a.state = MemoryState::kLoading;
  alarms.Update({a, b});
  EXPECT_EQ(alarms.Active().size(), 2u) << "a memory that loads is not yet known to be well";
  a.state = MemoryState::kServing;
  alarms.Update({a});  // and b was deleted
  EXPECT_EQ(told, (std::vector<std::string>{"b +corrupt", "a +disk", "a -disk", "b -corrupt"}));
  EXPECT_TRUE(alarms.Active().empty());
}

TEST(AlarmsTest, WhatAnAuditFoundIsAnAlarmBesideThatOfTheDisk) {
  ManualClock clock;
  Alarms alarms(&clock, [](const Alarm&, bool) {});
  MemoryFigures a{.name = "a", .state = MemoryState::kServing, .audit = {.corrupt = "slots 5 differ"}};
  alarms.Update({a});
  ASSERT_EQ(alarms.Active().size(), 1u);
  EXPECT_EQ(alarms.Active()[0].name, kCorruptAlarm);
  EXPECT_EQ(alarms.Active()[0].message, "slots 5 differ");
  a.state = MemoryState::kReadOnly;
  a.why = absl::UnavailableError("no space");
  alarms.Update({a});
  EXPECT_EQ(alarms.Active().size(), 2u);
  a.audit.corrupt.clear();
  alarms.Update({a});
  ASSERT_EQ(alarms.Active().size(), 1u);
  EXPECT_EQ(alarms.Active()[0].name, kDiskAlarm);
}

}  // namespace
}  // namespace evoke::testing
