// The command line of an Evoke server, as a function.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "evoke/clock.h"

namespace evoke::cli {

// Where a run reads, writes and waits.
struct Terminal {
  std::istream& in;
  std::ostream& out;                     // results
  std::ostream& err;                     // errors and questions
  bool err_is_terminal = false;          // progress is shown there
  bool interactive = false;              // somebody sits at `in` and may be asked
  std::shared_ptr<client::Clock> clock;  // null: the machine's
};

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // the server refused, could not be reached, or is not serving
inline constexpr int kExitUsage = 2;    // nothing was sent

// Runs one command. `args` are without the program's name. Returns the exit code.
int RunEvokectl(const std::vector<std::string>& args, const Terminal& terminal);

}  // namespace evoke::cli
