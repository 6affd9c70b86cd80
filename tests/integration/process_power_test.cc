// Power loss of a real server: killed while it trains, and its files cut to what it had synced.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "tests/integration/fault_trainer.h"
#include "tests/integration/faulty_server.h"

namespace evoke::testing {
namespace {

uint64_t Rounds() {
  return NumberFrom("EVOKE_POWER_ROUNDS", 6);
}

TEST(ProcessPowerTest, AnFsyncMemoryKeepsEveryAcknowledgedTurn) {
  const uint64_t seed = NumberFrom("EVOKE_TEST_SEED", 1);
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << seed);
  RandomBits bits(seed);
  FaultyServer server({"--write-buffer-bytes", "4MiB"});
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_FSYNC, seed);
  for (uint64_t round = 0; round < Rounds() && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    std::atomic<uint64_t> acknowledged = 0;
    std::atomic<bool> stop = false;
    std::thread training([&] {
      while (!stop) acknowledged += trainer.Step() == "OK";
    });
    const uint64_t until = 5 + bits.Below(40);
    EXPECT_TRUE(Eventually([&] { return acknowledged >= until; }));
    // Not to wait for anything, but to end up anywhere between two replies.
    absl::SleepFor(absl::Microseconds(bits.Below(10'000)));
    server.LosePower();
    server.Start();
    stop = true;
    training.join();
    trainer.ExpectStateOfSomeTurnFrom(trainer.acknowledged());
  }
  trainer.StepUntilOk();
}

TEST(ProcessPowerTest, AWalMemoryIsInTheStateOfAnEarlierTurn) {
  const uint64_t seed = NumberFrom("EVOKE_TEST_SEED", 1);
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << seed);
  RandomBits bits(seed);
  FaultyServer server;
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_WAL, seed);
  uint64_t lost = 0;
  for (uint64_t round = 0; round < Rounds() && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    for (uint64_t steps = 1 + bits.Below(40); steps > 0; --steps) ASSERT_EQ(trainer.Step(), "OK");
    const uint64_t before = trainer.acknowledged();
    if (bits.Percent(50)) {
      server.LosePower();
    } else {
      server.Kill();
    }
    server.Start();
    trainer.ExpectStateOfSomeTurnFrom(0);
    lost += before - trainer.acknowledged();
  }
  EXPECT_GT(lost, 0u) << "no power was lost: this test shows nothing";
}

}  // namespace
}  // namespace evoke::testing
