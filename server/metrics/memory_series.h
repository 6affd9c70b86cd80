// The counters and histograms of one memory, or of the memories beyond the label limit together.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/mutex.h"
#include "server/engine/engine_probe.h"
#include "server/metrics/metric_names.h"

namespace evoke {

// Where series are registered; the exporter. Outlives every series.
class SeriesFamilies {
 public:
  virtual ~SeriesFamilies() = default;
  virtual prometheus::Family<prometheus::Counter>& counters(Metric metric) = 0;
  virtual prometheus::Family<prometheus::Histogram>& histograms(Metric metric) = 0;
};

// Registers its metrics when made and takes them away when it goes, so that a deleted memory leaves the
// exposition. Thread-safe.
class MemorySeries {
 public:
  MemorySeries(SeriesFamilies* families, std::string label);
  ~MemorySeries();
  MemorySeries(const MemorySeries&) = delete;
  MemorySeries& operator=(const MemorySeries&) = delete;

  void OnTurn(const TurnReport& report);
  void OnRejected(std::string_view reason);
  void OnSnapshot(const SnapshotReport& report);
  const std::string& label() const { return label_; }

 private:
  static constexpr int kSeenCount = 5;
  using Labels = std::map<std::string, std::string>;

  // With bounds kept here, so that the values of a turn are counted first and added at once.
  struct BatchedHistogram {
    prometheus::Histogram* histogram = nullptr;
    const std::vector<double>* bounds = nullptr;
    void Observe(const std::vector<double>& values);
  };

  prometheus::Counter* AddCounter(Metric metric, Labels labels = {});
  BatchedHistogram AddHistogram(Metric metric, const std::vector<double>& bounds, Labels labels = {});
  void OnScored(const std::vector<ScoredRow>& rows);

  SeriesFamilies* const families_;
  const std::string label_;
  std::vector<std::function<void()>> removals_;

  prometheus::Counter* more_[4];
  prometheus::Counter* observations_[kOutcomeCount] = {};
  prometheus::Counter* top1_[kSeenCount][2];
  prometheus::Counter *margin_violations_, *no_positive_, *no_negative_, *last_slot_evicted_,
      *retry_duplicates_, *snapshot_failures_;
  BatchedHistogram turn_rows_, evicted_age_, margin_loss_, confidence_[2], key_drift_, commit_seconds_, snapshot_seconds_;

  Mutex mu_;
  std::map<std::string, prometheus::Counter*, std::less<>> rejected_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
