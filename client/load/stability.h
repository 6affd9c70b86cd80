// When enough has been measured.
#pragma once

#include <vector>

#include "absl/time/time.h"

namespace evoke::load {

// What the rule looks at of one window.
struct WindowFigures {
  double calls_per_second = 0;
  absl::Duration latency;  // at the percentile that was chosen
};

// The rule of perf_analyzer: the last `windows` of them are stable when in each of them both figures lie
// within `tolerance` (0.1: 10%) of their mean over these windows. Windows without a call are never stable: a
// server that answers nothing does so very evenly.
//
// Pure. Requires: windows > 0.
bool IsStable(const std::vector<WindowFigures>& figures, int windows, double tolerance);

}  // namespace evoke::load
