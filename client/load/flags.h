// The command line of evoke-load.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/options.h"

namespace evoke::load {

enum class WhenProgress { kAuto, kAlways, kNever };

struct CommandLine {
  Options options;
  WhenProgress progress = WhenProgress::kAuto;
  bool run =
      false;  // false: only `message` (help, or what was wrong) is to be printed, and `exit_code` returned
  std::string message;
  int exit_code = 0;
};

// `args` are without the program's name. All that can be judged without a server is judged here.
CommandLine ParseCommandLine(const std::vector<std::string>& args);

}  // namespace evoke::load
