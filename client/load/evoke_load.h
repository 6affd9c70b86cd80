// evoke-load as a function.
#pragma once

#include <atomic>
#include <ostream>
#include <string>
#include <vector>

namespace evoke::load {

// Where a run writes, and how it is ended.
struct Terminal {
  std::ostream& out;  // the report
  std::ostream& err;  // progress and errors
  bool err_is_terminal = false;
  const std::atomic<bool>& interrupted;  // set, by a signal handler: what was measured so far is reported
};

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // no server, refused, or the outcome of a mutation stayed unknown
inline constexpr int kExitUsage = 2;    // nothing was sent
inline constexpr int kExitViolation =
    3;  // the server broke a promise (judge.h), or --verify found two states

// One run. `args` are without the program's name. Returns the exit code.
int RunEvokeLoad(const std::vector<std::string>& args, const Terminal& terminal);

}  // namespace evoke::load
