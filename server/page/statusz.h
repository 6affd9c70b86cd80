// /statusz: the server on one screen of text, for a terminal at three in the morning.
//
// It tells no more than /metrics and /readyz?verbose do, and like them it needs no token: no content of any memory.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/alarms.h"
#include "server/engine/catalog.h"
#include "server/engine/executor.h"
#include "server/page/recent_activity.h"

namespace evoke {

// What the process is; the same in every answer.
struct ProcessFacts {
  std::string version, commit, instance;  // instance in hex
  std::string simd;                       // instructions that searches use
  std::string arithmetic_fingerprint;
  std::string config_digest;
  int process = 0;
  absl::Time started;
};

struct StatuszInput {
  const ProcessFacts& facts;
  std::string state;  // of the server: "serving", "loading" or "draining"
  Catalog::Budget budget;
  std::vector<MemoryFigures> memories;
  std::vector<TurnHistory> histories;  // of each of them
  std::vector<CallHistory> calls;
  std::vector<Alarm> alarms;
  absl::Time now;
};
std::string StatuszText(const StatuszInput& input);

}  // namespace evoke
