// The process evoked and its service manager, over a real notification socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/integration/held_recovery.h"
#include "tests/integration/server_process.h"
#include "tests/testing/notify_socket.h"

namespace evoke::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ServiceManagerProcessTest, IsReadyWhenItsMemoriesAreAndTellsOfReloadAndStop) {
  ServerProcess server;
  server.Start();
  ASSERT_TRUE(server.Connect()->CreateMemory("slow", {.key_dim = 2, .capacity = 100}).ok());
  ASSERT_EQ(server.Stop(), 0);

  const TestFolder folder;
  NotifySocket socket(folder.File("notify"));
  server.SetEnvironment({{"NOTIFY_SOCKET", folder.File("notify")}, {"WATCHDOG_USEC", "600000"}});
  HeldRecovery held(server.data_dir());
  server.Launch();
  EXPECT_THAT(socket.NextWith("memory slow: loading"),
              AllOf(HasSubstr("EXTEND_TIMEOUT_USEC="), HasSubstr("WATCHDOG=1"), Not(HasSubstr("READY=1"))));
  std::string until_again;
  EXPECT_THAT(socket.NextWith("EXTEND_TIMEOUT_USEC=", &until_again), HasSubstr("WATCHDOG=1"));
  EXPECT_THAT(until_again, Not(HasSubstr("READY=1")));
  held.Release();
  EXPECT_THAT(socket.NextWith("READY=1"), HasSubstr("STATUS=serving, memories: 1"));
  EXPECT_THAT(socket.Next(), HasSubstr("WATCHDOG=1"));

  server.Signal(SIGHUP);
  EXPECT_THAT(socket.NextWith("RELOADING=1"), HasSubstr("MONOTONIC_USEC="));
  EXPECT_EQ(socket.NextWith("READY=1"), "READY=1");
  server.Signal(SIGTERM);
  EXPECT_THAT(socket.NextWith("STOPPING=1"),
              AllOf(HasSubstr("EXTEND_TIMEOUT_USEC=45000000"), HasSubstr("WATCHDOG_USEC=45000000")));
  EXPECT_EQ(server.Wait(), 0);
}

}  // namespace
}  // namespace evoke::testing
