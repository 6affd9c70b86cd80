#include "tests/integration/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/clock.h"

namespace evoke::testing {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(2);

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// A developer's EVOKE_... variables are for the tests, or for servers of his own.
std::vector<std::string> Environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    if (std::strncmp(*v, "EVOKE_", 6) != 0) variables.push_back(*v);
  }
  for (const auto& [name, value] : added) variables.push_back(name + "=" + value);
  return variables;
}

}  // namespace

bool Eventually(const std::function<bool()>& condition, absl::Duration patience) {
  const absl::Time end = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() >= end) return false;
    absl::SleepFor(kPollInterval);
  }
  return true;
}

TestFolder::TestFolder() {
  path_ = ::testing::TempDir();
  if (path_.empty() || path_.back() != '/') path_ += '/';
  path_ += "evoke-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) Die("mkdtemp " + path_);
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

void WriteWholeFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

ChildProcess::ChildProcess(const Command& command) {
  std::vector<std::string> argv = command.argv;
  std::vector<std::string> environment = Environment(command.environment);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  const auto redirect = [&](int fd, const std::string& path) {
    posix_spawn_file_actions_addopen(&files, fd, path.empty() ? "/dev/null" : path.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
  };
  redirect(STDOUT_FILENO, command.out);
  redirect(STDERR_FILENO, command.err);
  errno = posix_spawn(&pid_, argv[0].c_str(), &files, nullptr, Pointers(argv).data(),
                      Pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  if (errno != 0) Die("start " + argv[0]);
}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  Wait();
}

bool ChildProcess::Running() {
  if (ended_) return false;
  int status = 0;
  const pid_t found = waitpid(pid_, &status, WNOHANG);
  if (found == 0) return true;
  if (found != pid_) Die("waitpid");
  ended_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

void ChildProcess::Signal(int signal) {
  if (Running()) kill(pid_, signal);
}

int ChildProcess::Wait(absl::Duration patience) {
  Eventually([this] { return !Running(); }, patience);
  return exit_code_;
}

Finished RunProgram(const std::vector<std::string>& argv,
                    const std::map<std::string, std::string>& environment) {
  const TestFolder folder;
  ChildProcess child(
      {.argv = argv, .environment = environment, .out = folder.File("out"), .err = folder.File("err")});
  const int exit_code = child.Wait();
  return {exit_code, ReadWholeFile(folder.File("out")), ReadWholeFile(folder.File("err"))};
}

}  // namespace evoke::testing
