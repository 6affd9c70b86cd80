#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <iostream>

#include "absl/synchronization/mutex.h"
#include "client/load/evoke_load.h"

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // so a signal handler may set it

void Interrupt(int) {
  interrupted.store(true, std::memory_order_relaxed);
}

}  // namespace

int main(int argc, char** argv) {
  // Where Abseil is built with checks, a lock would otherwise enter a graph of locks: a thirtieth of a small call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  struct sigaction action {};
  action.sa_handler = &Interrupt;
  action.sa_flags = SA_RESETHAND | SA_RESTART;  // the second one ends the process
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const evoke::load::Terminal terminal{.out = std::cout,
                                       .err = std::cerr,
                                       .err_is_terminal = isatty(STDERR_FILENO) != 0,
                                       .interrupted = interrupted};
  return evoke::load::RunEvokeLoad(std::vector<std::string>(argv + 1, argv + argc), terminal);
}
