#include "client/load/machine.h"

#include <sched.h>
#include <sys/utsname.h>

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace evoke::load {

Machine ThisMachine() {
  Machine machine;
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !absl::StartsWith(line, "model name")) continue;
    machine.cpu = std::string(absl::StripAsciiWhitespace(absl::string_view(line).substr(colon + 1)));
    break;
  }
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0) machine.cores = CPU_COUNT(&usable);
  utsname system{};
  if (uname(&system) == 0) machine.system = absl::StrCat(system.sysname, " ", system.release);
  return machine;
}

}  // namespace evoke::load
