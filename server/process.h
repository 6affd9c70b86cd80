// The process and its surroundings: signals, crashes, its parent.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace evoke {

// Exit codes of evoked.
enum ExitCode {
  kExitClean = 0,
  kExitFailure = 1,
  kExitUsage = 2,    // flags or configuration
  kExitCorrupt = 3,  // data are damaged, or of a newer format
  kExitLocked = 4,   // the data directory belongs to another process
  kExitResource = 5  // a port is taken
};

// SIGSEGV, SIGABRT and their like print a stack trace and then do what they do by default.
void InstallCrashHandler(const char* program);

// SIGTERM and SIGINT ask to stop. Blocks them, SIGHUP too, for this thread and those that it starts, so that
// they can be waited for; SIGPIPE is ignored. Requires: called before any thread is started.
void BlockSignals();
// Waits until a stop is asked for, or until `timeout`: nothing then. Returns the signal's name. Meanwhile
// `reload` is called for each SIGHUP.
std::optional<std::string> WaitForStop(
    absl::Duration timeout, const std::function<void()>& reload = [] {});

// Sends SIGTERM to this process when its parent ends; at once if it ended already.
void DieWithParent();

}  // namespace evoke
