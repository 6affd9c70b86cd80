#include "server/process.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/debugging/symbolize.h"
#include "absl/time/clock.h"

namespace evoke {
namespace {

sigset_t Waited() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

const pid_t kParentAtStart = getppid();

// Writes to stderr without stdio, whose locks the crash may have left taken.
void Print(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void PrintStackAndDie(int signal) {
  Print("*** ");
  Print(sigabbrev_np(signal) != nullptr ? sigabbrev_np(signal) : "signal");
  Print("; stack, innermost first:\n");
  void* frames[64];
  const int count = backtrace(frames, 64);
  for (int i = 0; i < count; ++i) {
    char name[512];
    // A return address lies behind its call, perhaps already in the next function.
    if (absl::Symbolize(static_cast<char*>(frames[i]) - 1, name, sizeof name)) {
      Print("  ");
      Print(name);
      Print("\n");
    } else {
      backtrace_symbols_fd(&frames[i], 1, STDERR_FILENO);
    }
  }
  raise(signal);  // the handler is reset: the default action, with a core where cores are made
  _exit(128 + signal);  // but process 1, which a container's is without an init, has no default actions
}

}  // namespace

void InstallCrashHandler(const char* program) {
  absl::InitializeSymbolizer(program);
  // The first call loads the unwinder, which a signal handler must not do. (Abseil's own failure handler
  // follows frame pointers, of which an optimised build and the C library have none.)
  void* frame;
  backtrace(&frame, 1);
  struct sigaction action {};
  action.sa_handler = PrintStackAndDie;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) sigaction(signal, &action, nullptr);
}

void BlockSignals() {
  const sigset_t set = Waited();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

std::optional<std::string> WaitForStop(absl::Duration timeout, const std::function<void()>& reload) {
  const sigset_t set = Waited();
  const absl::Time until = absl::Now() + timeout;
  while (true) {
    // An hour at a time: the kernel takes no infinite duration.
    const absl::Duration left = std::clamp(until - absl::Now(), absl::ZeroDuration(), absl::Hours(1));
    const timespec wait = absl::ToTimespec(left);
    const int signal = sigtimedwait(&set, nullptr, &wait);
    if (signal == SIGTERM) return "SIGTERM";
    if (signal == SIGINT) return "SIGINT";
    if (signal == SIGHUP) reload();
    if (absl::Now() >= until) return std::nullopt;
  }
}

void DieWithParent() {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != kParentAtStart) raise(SIGTERM);  // it ended before it could be watched
}

}  // namespace evoke
