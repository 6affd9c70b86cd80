// How much RAM this process may use: what the machine has, or what its cgroups leave of it.
#pragma once

#include <cstdint>
#include <string>

namespace evoke {

// Reads /proc and /sys below `root`, which is empty but in tests. The smallest of MemTotal and the limits of the
// process's cgroup (version 2, or version 1's memory controller) and of those above it; 0 when nothing can be read.
uint64_t UsableMemoryBytes(const std::string& root = "");

}  // namespace evoke
