#include "server/base/machine_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace evoke {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

class MachineMemoryTest : public ::testing::Test {
 protected:
  MachineMemoryTest() : root_(::testing::TempDir() + "/machine-" + std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
    Write("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:        1 kB\n");
  }
  ~MachineMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  const std::string root_;
};

TEST_F(MachineMemoryTest, WithoutAGroupItIsTheMachines) { EXPECT_EQ(UsableMemoryBytes(root_), 16 * kGiB); }

TEST_F(MachineMemoryTest, TheSmallestLimitOnTheWayUpCounts) {
  Write("/proc/self/cgroup", "0::/a/b/c\n");
  Write("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
  Write("/sys/fs/cgroup/a/b/memory.max", "2147483648\n");
  Write("/sys/fs/cgroup/a/memory.max", "4294967296\n");
  EXPECT_EQ(UsableMemoryBytes(root_), 2 * kGiB);
}

TEST_F(MachineMemoryTest, InAContainerTheTopOfTheMountCounts) {
  Write("/proc/self/cgroup", "0::/of/the/host\n");
  Write("/sys/fs/cgroup/memory.max", "1073741824\n");
  EXPECT_EQ(UsableMemoryBytes(root_), kGiB);
}

TEST_F(MachineMemoryTest, VersionOneHasAControllerOfItsOwn) {
  Write("/proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n");
  Write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(UsableMemoryBytes(root_), kGiB);
}

TEST_F(MachineMemoryTest, NothingToReadIsNothingKnown) { EXPECT_EQ(UsableMemoryBytes(root_ + "/none"), 0u); }

TEST_F(MachineMemoryTest, ThisMachineHasSome) { EXPECT_GT(UsableMemoryBytes(), uint64_t{1} << 26); }

}  // namespace
}  // namespace evoke
