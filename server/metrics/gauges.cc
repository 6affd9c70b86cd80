#include "server/metrics/gauges.h"

#include <map>
#include <set>
#include <utility>

#include "server/engine/alarms.h"
#include "server/metrics/metric_names.h"
#include "server/metrics/process_figures.h"

namespace evoke {
namespace {

using Labels = std::map<std::string, std::string>;

// Values by metric and labels; the same place twice adds up.
class Gauges {
 public:
  void Add(Metric metric, const Labels& labels, double value) { values_[metric][labels] += value; }

  std::vector<prometheus::MetricFamily> Families() const {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& [metric, by_labels] : values_) {
      const MetricInfo& info = InfoOf(metric);
      const bool counter = info.type == MetricType::kCounter;
      prometheus::MetricFamily family;
      family.name = info.name;
      family.help = info.help;
      family.type = counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      for (const auto& [labels, value] : by_labels) {
        prometheus::ClientMetric& metric_value = family.metric.emplace_back();
        for (const auto& [name, text] : labels) metric_value.label.push_back({name, text});
        (counter ? metric_value.counter.value : metric_value.gauge.value) = value;
      }
      families.push_back(std::move(family));
    }
    return families;
  }

 private:
  std::map<Metric, std::map<Labels, double>> values_;
};

void AddAges(const MemoryFigures& figures, const Labels& memory, Gauges* gauges) {
  constexpr std::pair<const char*, double> kQuantiles[] = {
      {"0", 0}, {"0.5", 0.5}, {"0.9", 0.9}, {"0.99", 0.99}, {"1", 1}};
  if (figures.sampled_ages.empty()) return;
  for (const auto& [name, quantile] : kQuantiles) {
    const auto place = static_cast<size_t>(quantile * static_cast<double>(figures.sampled_ages.size() - 1));
    Labels labels = memory;
    labels["quantile"] = name;
    gauges->Add(Metric::kSlotAge, labels, static_cast<double>(figures.sampled_ages[place]));
  }
}

double LoadedRatio(const MemoryFigures& figures) {
  if (figures.state != MemoryState::kLoading) return figures.state == MemoryState::kFailed ? 0 : 1;
  if (figures.slots_to_load == 0) return 0;
  return static_cast<double>(figures.slots_loaded) / static_cast<double>(figures.slots_to_load);
}

}  // namespace

std::vector<prometheus::MetricFamily> MemoryGauges(
    const std::vector<MemoryFigures>& memories,
    const std::function<std::string(const std::string&)>& label_of) {
  Gauges gauges;
  for (const MemoryFigures& figures : memories) {
    const std::string label = label_of(figures.name);
    const Labels memory = {{"memory", label}};
    const auto add = [&](Metric metric, uint64_t value) {
      gauges.Add(metric, memory, static_cast<double>(value));
    };
    add(Metric::kMailboxRows, figures.mailbox_rows);
    add(Metric::kSlotsLive, figures.live_count);
    add(Metric::kSlotsCapacity, figures.spec.capacity);
    add(Metric::kValuesDistinct, figures.distinct_values);
    add(Metric::kRamBytes, figures.ram_bytes);
    add(Metric::kStoredBytes, figures.stored_bytes);
    add(Metric::kUncertifiedRows, figures.uncertified_rows);
    add(Metric::kAuditSlots, figures.audit.slots);
    gauges.Add(Metric::kAuditDifferences, {{"memory", label}, {"what", "index"}},
               static_cast<double>(figures.audit.index_differences));
    gauges.Add(Metric::kAuditDifferences, {{"memory", label}, {"what", "store"}},
               static_cast<double>(figures.audit.store_differences));
    for (const char* alarm : {kDiskAlarm, kCorruptAlarm}) {
      gauges.Add(Metric::kAlarmActive, {{"alarm", alarm}, {"memory", label}}, AlarmsOf(figures).count(alarm));
    }
    if (label == kOtherMemory) continue;
    add(Metric::kStep, figures.step.value);
    add(Metric::kTurn, figures.turn.value);
    gauges.Add(Metric::kLoaded, memory, LoadedRatio(figures));
    AddAges(figures, memory, &gauges);
    if (figures.last_snapshot == absl::InfinitePast()) continue;
    gauges.Add(Metric::kSnapshotLastSuccess, memory,
               static_cast<double>(absl::ToUnixMillis(figures.last_snapshot)) / 1000);
    add(Metric::kSnapshotBytes, figures.last_snapshot_bytes);
  }
  return gauges.Families();
}

std::vector<prometheus::MetricFamily> ProcessGauges() {
  const ProcessFigures figures = ReadProcessFigures();
  Gauges gauges;
  gauges.Add(Metric::kProcessCpu, {}, figures.cpu_seconds);
  gauges.Add(Metric::kProcessResident, {}, figures.resident_bytes);
  gauges.Add(Metric::kProcessVirtual, {}, figures.virtual_bytes);
  gauges.Add(Metric::kProcessOpenFds, {}, figures.open_fds);
  gauges.Add(Metric::kProcessMaxFds, {}, figures.max_fds);
  gauges.Add(Metric::kProcessStart, {}, figures.start_time_seconds);
  gauges.Add(Metric::kProcessThreads, {}, figures.threads);
  return gauges.Families();
}

}  // namespace evoke
