#include "server/metrics/process_figures.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace evoke {
namespace {

double BootTimeSeconds() {
  std::ifstream in("/proc/stat");
  std::string word;
  double seconds = 0;
  while (in >> word) {
    if (word == "btime" && in >> seconds) break;
  }
  return seconds;
}

}  // namespace

ProcessFigures ReadProcessFigures() {
  ProcessFigures figures;
  std::ifstream in("/proc/self/stat");
  std::string line;
  std::getline(in, line);
  // The name, in brackets, may hold anything; fields after it are counted from 3 (proc(5)).
  if (const size_t end = line.rfind(')'); end != std::string::npos) {
    std::istringstream fields(line.substr(end + 2));
    std::string field;
    const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    for (int number = 3; fields >> field; ++number) {
      if (number == 14 || number == 15) figures.cpu_seconds += std::stod(field) / ticks;
      if (number == 20) figures.threads = std::stod(field);
      if (number == 22) figures.start_time_seconds = BootTimeSeconds() + std::stod(field) / ticks;
      if (number == 23) figures.virtual_bytes = std::stod(field);
      if (number == 24)
        figures.resident_bytes = std::stod(field) * static_cast<double>(sysconf(_SC_PAGESIZE));
    }
  }
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++figures.open_fds;
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.max_fds = static_cast<double>(limit.rlim_cur);
  const struct mallinfo2 heap = mallinfo2();  // of all arenas; blocks of their own (hblkhd) beside them
  figures.heap_used_bytes = static_cast<double>(heap.uordblks + heap.hblkhd);
  figures.heap_held_bytes = static_cast<double>(heap.arena + heap.hblkhd);
  return figures;
}

}  // namespace evoke
