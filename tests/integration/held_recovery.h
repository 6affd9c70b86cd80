// A server that loads for as long as a test likes.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/integration/child_process.h"

namespace evoke::testing {

// Recovery waits at a named pipe that stands where RocksDB looks first, until the test lets it go on.
class HeldRecovery {
 public:
  explicit HeldRecovery(const std::string& data_dir) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(data_dir + "/memories")) {
      if (entry.path().filename() == "CURRENT") current_ = entry.path();
    }
    std::filesystem::rename(current_, current_ + ".real");
    EXPECT_EQ(mkfifo(current_.c_str(), 0600), 0);
    EXPECT_EQ(link(current_.c_str(), (current_ + ".held").c_str()), 0);
  }
  void Release() {
    const std::string content = ReadWholeFile(current_ + ".real");
    std::filesystem::rename(current_ + ".real",
                            current_);  // over the pipe: whoever comes later finds the file
    int fd = -1;
    EXPECT_TRUE(
        Eventually([&] { return (fd = open((current_ + ".held").c_str(), O_WRONLY | O_NONBLOCK)) >= 0; }));
    signal(SIGPIPE, SIG_IGN);
    EXPECT_TRUE(write(fd, content.data(), content.size()) >= 0 || errno == EPIPE);
    close(fd);
    std::filesystem::remove(current_ + ".held");
  }

 private:
  std::string current_;
};

}  // namespace evoke::testing
