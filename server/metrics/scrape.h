// What is read when it is wanted: families that are made anew for each scrape.
#pragma once

#include <prometheus/metric_family.h>

#include <map>
#include <string>
#include <vector>

#include "server/engine/executor.h"
#include "server/metrics/metric_names.h"

namespace evoke {

// Values by metric and labels; the same place twice adds up. Thread-compatible.
class Scrape {
 public:
  using Labels = std::map<std::string, std::string>;

  // Requires: a counter or gauge, read at the scrape.
  void Add(Metric metric, const Labels& labels, double value);
  // Requires: a histogram, read at the scrape.
  void Add(Metric metric, const Labels& labels, const DurationCounts& durations);

  // All that was added, with names, types and helps of the table.
  std::vector<prometheus::MetricFamily> Families() const;

 private:
  std::map<Metric, std::map<Labels, double>> values_;
  std::map<Metric, std::map<Labels, DurationCounts>> histograms_;
};

// Whether the exporter makes this metric for each scrape; the others are counted as things happen.
bool IsReadAtScrape(const MetricInfo& info);

// The help text of the exposition: meaning and unit.
std::string HelpOf(const MetricInfo& info);

}  // namespace evoke
