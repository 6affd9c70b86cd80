// Where a server's time went between two looks at its metrics.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/prometheus_text.h"

namespace evoke::load {

// Of one histogram: what came in between the two scrapes.
struct TimeSpent {
  std::string name;  // "commit"
  double count = 0;
  double seconds = 0;  // all of them together
  double p50 = 0;      // estimated within the server's buckets, as Prometheus does
  double p99 = 0;
};

// A plain value. Phases and processor time are the whole server's; the rest is the memory's.
struct ServerTime {
  double turns = 0;                        // that read or wrote
  double rows = 0;                         // in them
  double commits = 0;                      // turns that wrote
  std::vector<TimeSpent> phases;           // in the order of a turn; those that took no time are left out
  std::vector<TimeSpent> storage;          // commit; and sync, of servers that tell
  std::map<std::string, double> rejected;  // requests, by reason
  double retry_duplicates = 0;             // retries answered from stored replies
  double more = 0;                         // second requests to a shard
  double cpu_seconds = 0;                  // of the server
};

// FAILED_PRECONDITION when the server was restarted in between: its counters began anew.
absl::StatusOr<ServerTime> TimeBetween(const Scrape& before, const Scrape& after, const std::string& memory);

}  // namespace evoke::load
