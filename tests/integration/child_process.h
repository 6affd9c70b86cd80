// A program of ours as a child of the test: started, watched, killed, its output kept.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace evoke::testing {

// Longer than anything takes on a loaded machine, and shorter than CTest's patience.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Looks again and again until `condition` holds; false when it did not within `patience`.
bool Eventually(const std::function<bool()>& condition, absl::Duration patience = kPatience);

// A new empty folder under the temporary one, removed with all that is in it. Its path is short enough for a
// socket.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string ReadWholeFile(const std::string& path);
void WriteWholeFile(const std::string& path, const std::string& content);

// One run of a program. Its environment is that of the test without EVOKE_..., and `environment`.
// Thread-compatible. Killed and reaped when this object goes.
class ChildProcess {
 public:
  struct Command {
    std::vector<std::string> argv;  // [0]: path of the program
    std::map<std::string, std::string> environment;
    std::string out;  // files that stdout and stderr are appended to; empty: thrown away
    std::string err;
  };
  explicit ChildProcess(const Command& command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal);
  // Returns: its exit code; 128 + the signal that ended it; -1 when it did not end within `patience`.
  int Wait(absl::Duration patience = kPatience);

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
};

struct Finished {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// Runs a program to its end.
Finished RunProgram(const std::vector<std::string>& argv,
                    const std::map<std::string, std::string>& environment = {});

}  // namespace evoke::testing
