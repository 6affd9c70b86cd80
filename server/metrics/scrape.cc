#include "server/metrics/scrape.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

prometheus::MetricFamily FamilyOf(Metric metric, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = InfoOf(metric).name;
  family.help = HelpOf(InfoOf(metric));
  family.type = type;
  return family;
}

prometheus::ClientMetric& AddSeries(const Scrape::Labels& labels, prometheus::MetricFamily* family) {
  prometheus::ClientMetric& series = family->metric.emplace_back();
  for (const auto& [name, text] : labels) series.label.push_back({name, text});
  return series;
}

}  // namespace

bool IsReadAtScrape(const MetricInfo& info) {
  if (info.type == MetricType::kGauge) return true;
  switch (info.id) {
    case Metric::kUncertifiedRows:
    case Metric::kShardRows:
    case Metric::kWalSyncSeconds:
    case Metric::kWalBytes:
    case Metric::kRocksDbWrittenBytes:
    case Metric::kRocksDbWriteStalls:
    case Metric::kRocksDbBackgroundErrors:
    case Metric::kRocksDbCacheHits:
    case Metric::kRocksDbCacheMisses:
    case Metric::kAuditSlots:
    case Metric::kAuditDifferences:
    case Metric::kProcessCpu:
      return true;
    default:
      return false;
  }
}

std::string HelpOf(const MetricInfo& info) {
  return absl::StrCat(info.help, " Unit: ", info.unit, ".");
}

void Scrape::Add(Metric metric, const Labels& labels, double value) {
  values_[metric][labels] += value;
}

void Scrape::Add(Metric metric, const Labels& labels, const DurationCounts& durations) {
  DurationCounts& sum = histograms_[metric][labels];
  for (size_t i = 0; i < sum.counts.size(); ++i) sum.counts[i] += durations.counts[i];
  sum.sum_seconds += durations.sum_seconds;
}

std::vector<prometheus::MetricFamily> Scrape::Families() const {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& [metric, by_labels] : values_) {
    const bool counter = InfoOf(metric).type == MetricType::kCounter;
    families.push_back(
        FamilyOf(metric, counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge));
    for (const auto& [labels, value] : by_labels) {
      prometheus::ClientMetric& series = AddSeries(labels, &families.back());
      (counter ? series.counter.value : series.gauge.value) = value;
    }
  }
  for (const auto& [metric, by_labels] : histograms_) {
    families.push_back(FamilyOf(metric, prometheus::MetricType::Histogram));
    for (const auto& [labels, durations] : by_labels) {
      prometheus::ClientMetric::Histogram& histogram = AddSeries(labels, &families.back()).histogram;
      histogram.sample_sum = durations.sum_seconds;
      for (size_t i = 0; i < durations.counts.size(); ++i) {
        histogram.sample_count += durations.counts[i];
        const bool last = i == DurationCounts::kBounds.size();
        histogram.bucket.push_back({.cumulative_count = histogram.sample_count,
                                    .upper_bound = last ? std::numeric_limits<double>::infinity()
                                                        : DurationCounts::kBounds[i]});
      }
    }
  }
  return families;
}

}  // namespace evoke
