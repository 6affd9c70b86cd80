#include "server/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/notify_socket.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

const Readiness kLoading{.ready = false,
                         .checks = {{"server", true, "serving"}, {"memory faces", false, "loading, 3 of\n9 slots"}}};
const Readiness kServing{.ready = true, .checks = {{"server", true, "serving"}, {"memory faces", true, "serving"}}};

// An abstract address: nothing is left on a disk.
std::string Address() { return absl::StrCat("@evoke-service-manager-test-", getpid()); }

class ServiceManagerTest : public ::testing::Test {
 protected:
  testing::NotifySocket socket_{Address()};
  std::string Told() { return socket_.Next(0); }
};

TEST_F(ServiceManagerTest, AsksForTimeWhileLoadingAndIsReadyOnce) {
  ServiceManager manager({{"NOTIFY_SOCKET", Address()}});
  EXPECT_EQ(manager.period(), absl::Seconds(1));
  manager.Tell(kLoading);
  EXPECT_EQ(Told(), "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=not ready; memory faces: loading, 3 of 9 slots");
  manager.Tell(kLoading);
  EXPECT_EQ(Told(), "EXTEND_TIMEOUT_USEC=60000000");
  manager.Tell(kServing);
  EXPECT_EQ(Told(), "READY=1\nSTATUS=serving, memories: 1");
  EXPECT_EQ(manager.period(), absl::Seconds(5));
  manager.Tell(kServing);
  EXPECT_THAT(Told(), IsEmpty()) << "nothing has changed";
  manager.Tell(kLoading);
  EXPECT_EQ(Told(), "STATUS=not ready; memory faces: loading, 3 of 9 slots") << "and no more time: it has started";
}

TEST_F(ServiceManagerTest, TellsThatItIsAliveThreeTimesInTheWatchdogsPatience) {
  ServiceManager manager({{"NOTIFY_SOCKET", Address()}, {"WATCHDOG_USEC", "900000"}, {"WATCHDOG_PID", absl::StrCat(getpid())}});
  EXPECT_EQ(manager.period(), absl::Milliseconds(300));
  manager.Tell(kServing);
  EXPECT_THAT(Told(), HasSubstr("\nWATCHDOG=1"));
  manager.Tell(kServing);
  EXPECT_EQ(Told(), "WATCHDOG=1");
}

TEST_F(ServiceManagerTest, AnotherProcessesWatchdogIsNotFed) {
  ServiceManager manager({{"NOTIFY_SOCKET", Address()}, {"WATCHDOG_USEC", "900000"}, {"WATCHDOG_PID", "1"}});
  manager.Tell(kServing);
  EXPECT_EQ(Told(), "READY=1\nSTATUS=serving, memories: 1");
}

TEST_F(ServiceManagerTest, ReloadIsToldOnlyOnceItIsReady) {
  ServiceManager manager({{"NOTIFY_SOCKET", Address()}});
  manager.Reloading();
  manager.Reloaded();
  EXPECT_THAT(Told(), IsEmpty()) << "READY=1 would start what waits for this unit";
  manager.Tell(kServing);
  Told();
  manager.Reloading();
  EXPECT_THAT(Told(), MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  manager.Reloaded();
  EXPECT_EQ(Told(), "READY=1");
}

TEST_F(ServiceManagerTest, StopSaysHowLongItMayTakeAndTheWatchdogWaitsThatLong) {
  ServiceManager plain({{"NOTIFY_SOCKET", Address()}});
  plain.Stopping(absl::Seconds(45));
  EXPECT_EQ(Told(), "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=45000000");
  ServiceManager watched({{"NOTIFY_SOCKET", Address()}, {"WATCHDOG_USEC", "900000"}});
  watched.Stopping(absl::Seconds(45));
  EXPECT_THAT(Told(), HasSubstr("\nWATCHDOG_USEC=45000000"));
}

TEST_F(ServiceManagerTest, WithoutAManagerNothingIsSentOrWaitedFor) {
  for (const std::string& nowhere : {std::string(), std::string("/no/such/socket"), std::string(200, 'x')}) {
    ServiceManager manager({{"NOTIFY_SOCKET", nowhere}, {"WATCHDOG_USEC", "900000"}});
    manager.Tell(kServing);
    manager.Reloading();
    manager.Stopping(absl::Seconds(1));
  }
  EXPECT_EQ(ServiceManager({}).period(), absl::InfiniteDuration());
  EXPECT_THAT(Told(), IsEmpty());
}

}  // namespace
}  // namespace evoke
