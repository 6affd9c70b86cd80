#include "server/metrics/memory_series.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace evoke {
namespace {

const std::vector<double> kRowBounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
// Three a decade: an age that halves is to be seen, and alerts are raised on it.
const std::vector<double> kAgeBounds = {1,   2,   5,   10,  20,  50,  100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4,
                                        5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9};
const std::vector<double> kLossBounds = {0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};  // at most 2 + margin
const std::vector<double> kConfidenceBounds = {0.01, 0.05, 0.1, 0.2, 0.3,  0.4,  0.5,
                                               0.6,  0.7,  0.8, 0.9, 0.95, 0.99, 1};
const std::vector<double> kDriftBounds = {1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1};
const std::vector<double> kCommitBounds = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01,
                                           0.02, 0.05, 0.1,  0.2,  0.5,  1,    2,    5,    10};
const std::vector<double> kSnapshotBounds = {0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000};

constexpr const char* kWhat[4] = {"neighbors", "oldest", "free", "of_value"};
constexpr const char* kSeen[] = {"0", "1", "2-4", "5-9", "10+"};
constexpr std::pair<Outcome, const char*> kOutcomes[] = {
    {Outcome::kHit, "hit"},        {Outcome::kMerged, "merged"},    {Outcome::kFolded, "folded"},
    {Outcome::kFree, "miss_free"}, {Outcome::kEvict, "miss_evict"}, {Outcome::kDropped, "dropped"}};

int SeenIndex(uint64_t seen) {
  return seen == 0 ? 0 : seen == 1 ? 1 : seen < 5 ? 2 : seen < 10 ? 3 : 4;
}

}  // namespace

void MemorySeries::BatchedHistogram::Observe(const std::vector<double>& values) {
  if (values.empty()) return;
  std::vector<double> counts(bounds->size() + 1);
  double sum = 0;
  for (double value : values) {
    ++counts[static_cast<size_t>(std::lower_bound(bounds->begin(), bounds->end(), value) - bounds->begin())];
    sum += value;
  }
  histogram->ObserveMultiple(counts, sum);
}

prometheus::Counter* MemorySeries::AddCounter(Metric metric, Labels labels) {
  labels["memory"] = label_;
  auto& family = families_->counters(metric);
  prometheus::Counter* counter = &family.Add(labels);
  removals_.push_back([&family, counter] { family.Remove(counter); });
  return counter;
}

MemorySeries::BatchedHistogram MemorySeries::AddHistogram(Metric metric, const std::vector<double>& bounds,
                                                          Labels labels) {
  labels["memory"] = label_;
  auto& family = families_->histograms(metric);
  prometheus::Histogram* histogram = &family.Add(labels, bounds);
  removals_.push_back([&family, histogram] { family.Remove(histogram); });
  return {histogram, &bounds};
}

MemorySeries::MemorySeries(SeriesFamilies* families, std::string label)
    : families_(families), label_(std::move(label)) {
  for (int i = 0; i < 4; ++i) more_[i] = AddCounter(Metric::kMore, {{"what", kWhat[i]}});
  for (const auto& [outcome, name] : kOutcomes) {
    observations_[static_cast<int>(outcome)] = AddCounter(Metric::kObservations, {{"outcome", name}});
  }
  for (int seen = 0; seen < kSeenCount; ++seen) {
    for (int correct = 0; correct < 2; ++correct) {
      top1_[seen][correct] =
          AddCounter(Metric::kTop1, {{"seen", kSeen[seen]}, {"correct", correct ? "true" : "false"}});
    }
  }
  margin_violations_ = AddCounter(Metric::kMarginViolation);
  no_positive_ = AddCounter(Metric::kNoPositive);
  no_negative_ = AddCounter(Metric::kNoNegative);
  last_slot_evicted_ = AddCounter(Metric::kLastSlotEvicted);
  retry_duplicates_ = AddCounter(Metric::kRetryDuplicates);
  turn_rows_ = AddHistogram(Metric::kTurnRows, kRowBounds);
  evicted_age_ = AddHistogram(Metric::kEvictedAge, kAgeBounds);
  margin_loss_ = AddHistogram(Metric::kMarginLoss, kLossBounds);
  confidence_[0] = AddHistogram(Metric::kConfidence, kConfidenceBounds, {{"correct", "false"}});
  confidence_[1] = AddHistogram(Metric::kConfidence, kConfidenceBounds, {{"correct", "true"}});
  key_drift_ = AddHistogram(Metric::kKeyDrift, kDriftBounds);
  commit_seconds_ = AddHistogram(Metric::kCommitSeconds, kCommitBounds);
  snapshot_seconds_ = AddHistogram(Metric::kSnapshotSeconds, kSnapshotBounds);
  snapshot_failures_ = AddCounter(Metric::kSnapshotFailures);
}

MemorySeries::~MemorySeries() {
  for (const auto& remove : removals_) remove();
}

void MemorySeries::OnTurn(const TurnReport& report) {
  turn_rows_.Observe({static_cast<double>(report.rows)});
  const uint64_t more[4] = {report.more_neighbors, report.more_oldest, report.more_free,
                            report.more_of_value};
  for (int i = 0; i < 4; ++i) more_[i]->Increment(static_cast<double>(more[i]));
  for (int i = 0; i < kOutcomeCount; ++i) {
    if (observations_[i] != nullptr) observations_[i]->Increment(static_cast<double>(report.outcomes[i]));
  }
  std::vector<double> evicted_ages;
  for (const Eviction& eviction : report.evictions) evicted_ages.push_back(static_cast<double>(eviction.age));
  evicted_age_.Observe(evicted_ages);
  key_drift_.Observe({report.key_drifts.begin(), report.key_drifts.end()});
  last_slot_evicted_->Increment(static_cast<double>(report.last_slots_evicted));
  retry_duplicates_->Increment(static_cast<double>(report.retry_duplicates));
  if (report.committed)
    commit_seconds_.Observe({absl::ToDoubleSeconds(report.phases[static_cast<int>(Phase::kCommit)])});
  OnScored(report.scored);
}

void MemorySeries::OnScored(const std::vector<ScoredRow>& rows) {
  std::vector<double> losses, confidences[2];
  for (const ScoredRow& row : rows) {
    if (!row.written) continue;  // validation is not training
    const bool correct = row.answered && row.correct;
    top1_[SeenIndex(row.seen)][correct]->Increment();
    losses.push_back(row.loss);
    if (row.answered) confidences[correct].push_back(row.confidence);
    if (row.loss > 0) margin_violations_->Increment();
    if (!row.positive_found) no_positive_->Increment();
    if (!row.negative_found) no_negative_->Increment();
  }
  margin_loss_.Observe(losses);
  for (int correct = 0; correct < 2; ++correct) confidence_[correct].Observe(confidences[correct]);
}

void MemorySeries::OnSnapshot(const SnapshotReport& report) {
  if (!report.made) {
    snapshot_failures_->Increment();
  } else if (!report.earlier) {
    snapshot_seconds_.histogram->Observe(absl::ToDoubleSeconds(report.duration));
  }
}

void MemorySeries::OnRejected(std::string_view reason) {
  MutexLock lock(&mu_);
  auto it = rejected_.find(reason);
  if (it == rejected_.end()) {
    it = rejected_.emplace(reason, AddCounter(Metric::kRejected, {{"reason", std::string(reason)}})).first;
  }
  it->second->Increment();
}

}  // namespace evoke
