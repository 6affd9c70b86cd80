// Metrics that are read when they are wanted: made from figures, for one scrape.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/engine/executor.h"
#include "server/metrics/scrape.h"

namespace evoke {

// What is of the server and of no memory.
struct ServerFigures {
  bool ready = false;  // as /readyz says
  uint64_t disk_free_bytes = 0, disk_reserve_bytes = 0;
  uint64_t ram_planned_bytes = 0, ram_budget_bytes = 0;
  uint64_t cache_bytes = 0, cache_capacity_bytes = 0, cache_hits = 0, cache_misses = 0;
  uint64_t write_buffer_bytes = 0, write_buffer_capacity_bytes = 0;
};

// `label_of` tells a memory's label; the figures of memories that share "_other" are added up, and what
// cannot be added (step, turn, ages, recall, shards) is left out for them.
void AddMemories(const std::vector<MemoryFigures>& memories,
                 const std::function<std::string(const std::string&)>& label_of, Scrape* scrape);
void AddServer(const ServerFigures& figures, Scrape* scrape);
void AddProcess(Scrape* scrape);

}  // namespace evoke
