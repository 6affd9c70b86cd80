// The wall clock of a real server jumps by hours while it is trained: nothing durable knows, and nothing hangs.
#include <gtest/gtest.h>

#include "tests/integration/fault_trainer.h"
#include "tests/integration/faulty_server.h"

namespace evoke::testing {
namespace {

TEST(ProcessClockTest, JumpsOfHoursChangeNothing) {
  FaultyServer server({"--disk-reserve-bytes", "64MiB"});
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_FSYNC);
  for (const int hours : {0, 3, -5, 24 * 400, -24 * 400, 0}) {
    SCOPED_TRACE(hours);
    server.faults().clock_shift_seconds = hours * 3600;
    for (int i = 0; i < 10; ++i) trainer.StepUntilOk();
    EXPECT_EQ(trainer.Query(), "OK");
  }
  // Timers went on: the disk is still looked at, although the clock is far behind when it last was set.
  server.faults().clock_shift_seconds = -7200;
  server.faults().free_bytes = 1 << 20;
  ASSERT_TRUE(Eventually([&] { return trainer.Step() == "FAILED_PRECONDITION/READ_ONLY_DISK"; }));
  server.faults().free_bytes = FaultControl::kUnlimited;
  trainer.StepUntilOk();
  server.Kill();
  server.faults().clock_shift_seconds = 36000;
  server.Start();
  trainer.ExpectStateOfSomeTurnFrom(trainer.acknowledged());
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace evoke::testing
