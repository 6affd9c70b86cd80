// Metrics that are read when they are wanted: made from figures, for one scrape.
#pragma once

#include <prometheus/metric_family.h>

#include <functional>
#include <string>
#include <vector>

#include "server/engine/executor.h"

namespace evoke {

// `label_of` tells a memory's label; the figures of memories that share "_other" are added up, and what
// cannot be added (step, turn, ages) is left out for them.
std::vector<prometheus::MetricFamily> MemoryGauges(
    const std::vector<MemoryFigures>& memories,
    const std::function<std::string(const std::string&)>& label_of);
std::vector<prometheus::MetricFamily> ProcessGauges();

}  // namespace evoke
