// Figures of memories and calls as JSON. Numbers are JSON's, but for values, which are any int64 and travel as text.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/alarms.h"
#include "server/engine/executor.h"
#include "server/page/json_reply.h"
#include "server/page/recent_activity.h"

namespace evoke {

// "serving", "loading", "read-only", "failed" or "draining".
const char* StateName(MemoryState state);

// A line of a list: where it stands, how full it is, and what a second brought it of late.
Json ToSummary(const MemoryFigures& figures, const TurnHistory& history);
// All of it: the spec, what it takes, ages, history and evictions.
Json ToDetails(const MemoryFigures& figures, const TurnHistory& history, absl::Time now);

// {"sampled", "quantiles": {"0", "0.25", ...}, "bins": [{"from", "to", "count"}]}: bins of equal width over all ages.
// `ages` ascends.
Json AgeHistogram(const std::vector<uint64_t>& ages);

Json ToJson(const std::vector<CallHistory>& calls);
Json ToJson(const Alarm& alarm, absl::Time now);

}  // namespace evoke
