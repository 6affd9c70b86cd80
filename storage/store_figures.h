// What a store does on its disk, in numbers: for metrics, never for decisions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace evoke {

// How often something took how long: counts[i] took at most kBounds[i] seconds and more than the bound before; the last
// one, more than any bound.
struct DurationCounts {
  static constexpr std::array<double, 19> kBounds = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01,
                                                     0.02, 0.05, 0.1,  0.2,  0.5,  1,    2,    5,    10};
  std::array<uint64_t, kBounds.size() + 1> counts{};
  double sum_seconds = 0;
};

// Counted since the store was opened, or as it is now.
struct StoreFigures {
  // The log of commits.
  uint64_t log_bytes = 0;
  DurationCounts log_syncs;
  // What is kept behind it.
  uint64_t memtable_bytes = 0;             // now
  uint64_t table_bytes = 0;                // now; the live table files
  uint64_t level0_files = 0;               // now; many of them slow commits down
  uint64_t pending_compaction_bytes = 0;   // now, estimated
  uint64_t running_flushes = 0;            // now
  uint64_t running_compactions = 0;        // now
  uint64_t flushed_bytes = 0;
  uint64_t compacted_bytes = 0;            // written by compactions
  uint64_t write_delays = 0, write_stops = 0;  // times that writes began to be slowed down, or to wait
  uint64_t background_errors = 0;
};

// Thread-safe and quick. May outlive its store: what was counted then stays, and what is "now" is zero.
class StoreMeter {
 public:
  virtual ~StoreMeter() = default;
  virtual StoreFigures Read() const = 0;
};

}  // namespace evoke
