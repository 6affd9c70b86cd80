#include "server/base/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace evoke {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

uint64_t MemTotal(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string word;
  uint64_t kib = 0;
  while (file >> word) {
    if (word == "MemTotal:" && file >> kib) return kib << 10;
  }
  return kNoLimit;
}

// "max", an absent file and version 1's huge number are no limit.
uint64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t bytes = 0;
  return file >> text && absl::SimpleAtoi(text, &bytes) ? bytes : kNoLimit;
}

// A limit holds for everything below it, so the way up is searched too. In a container the process's path may be that
// of the host, which is not there; then only the top counts, which is the container's own.
uint64_t SmallestLimit(const std::string& mount, std::string group, const char* file) {
  uint64_t smallest = LimitIn(mount + "/" + file);
  while (!group.empty() && group != "/") {
    smallest = std::min(smallest, LimitIn(mount + group + "/" + file));
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  return smallest;
}

}  // namespace

uint64_t UsableMemoryBytes(const std::string& root) {
  uint64_t bytes = MemTotal(root);
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" of version 2, "4:memory:/path" of version 1.
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[0] == "0") {
      bytes = std::min(bytes, SmallestLimit(root + "/sys/fs/cgroup", parts[2], "memory.max"));
    } else if (parts[1] == "memory") {
      bytes = std::min(bytes, SmallestLimit(root + "/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"));
    }
  }
  return bytes == kNoLimit ? 0 : bytes;
}

}  // namespace evoke
