#include "client/load/server_time.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace evoke::load {
namespace {

// In the order in which a turn goes through them; a server with others has them behind these.
constexpr const char* kPhaseOrder[] = {"queue",  "propose", "more",  "fetch",
                                       "decide", "commit",  "apply", "reply"};

struct Difference {
  const Scrape& before;
  const Scrape& after;

  double Of(const std::string& name, const Labels& labels = {}) const {
    return after.Sum(name, labels) - before.Sum(name, labels);
  }
};

// As Prometheus's histogram_quantile: linear within the bucket that has it; of the last one its lower bound.
double Quantile(double q, const std::vector<std::pair<double, double>>& buckets) {
  if (buckets.empty() || buckets.back().second <= 0) return 0;
  const double rank = q * buckets.back().second;
  double low = 0;
  double seen = 0;
  for (const auto& [bound, count] : buckets) {
    if (count >= rank) {
      if (bound == std::numeric_limits<double>::infinity()) return low;
      return count > seen ? low + (bound - low) * (rank - seen) / (count - seen) : bound;
    }
    low = bound;
    seen = count;
  }
  return low;
}

TimeSpent Spent(const Difference& difference, const std::string& name, const std::string& metric,
                Labels labels) {
  TimeSpent spent{.name = name,
                  .count = difference.Of(metric + "_count", labels),
                  .seconds = difference.Of(metric + "_sum", labels)};
  std::vector<std::pair<double, double>> buckets;  // upper bound, count up to it
  for (const std::string& text : difference.after.ValuesOf(metric + "_bucket", "le")) {
    double bound = 0;
    if (!absl::SimpleAtod(text, &bound)) continue;
    labels["le"] = text;
    buckets.emplace_back(bound, difference.Of(metric + "_bucket", labels));
  }
  std::sort(buckets.begin(), buckets.end());
  spent.p50 = Quantile(0.5, buckets);
  spent.p99 = Quantile(0.99, buckets);
  return spent;
}

std::vector<std::string> PhaseNames(const Scrape& scrape, const std::string& metric) {
  std::vector<std::string> names(std::begin(kPhaseOrder), std::end(kPhaseOrder));
  for (const std::string& name : scrape.ValuesOf(metric + "_count", "phase")) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace

absl::StatusOr<ServerTime> TimeBetween(const Scrape& before, const Scrape& after, const std::string& memory) {
  if (before.Sum("process_start_time_seconds") != after.Sum("process_start_time_seconds")) {
    return absl::FailedPreconditionError("the server was restarted: its counters began anew");
  }
  const Difference difference{before, after};
  // A server names the first memories and calls the others `_other`.
  const std::vector<std::string> named = after.ValuesOf("evoke_turn_rows_count", "memory");
  const Labels labels = {
      {"memory", std::find(named.begin(), named.end(), memory) != named.end() ? memory : "_other"}};

  ServerTime time{.turns = difference.Of("evoke_turn_rows_count", labels),
                  .rows = difference.Of("evoke_turn_rows_sum", labels),
                  .commits = difference.Of("evoke_commit_seconds_count", labels),
                  .retry_duplicates = difference.Of("evoke_retry_duplicates_total", labels),
                  .more = difference.Of("evoke_more_total", labels),
                  .cpu_seconds = difference.Of("process_cpu_seconds_total")};
  const std::string phase_metric = "evoke_request_phase_seconds";
  for (const std::string& name : PhaseNames(after, phase_metric)) {
    TimeSpent spent = Spent(difference, name, phase_metric, {{"phase", name}});
    if (spent.count > 0) time.phases.push_back(std::move(spent));
  }
  for (const auto& [name, metric] :
       {std::pair("commit", "evoke_commit_seconds"), std::pair("sync", "evoke_wal_sync_seconds")}) {
    TimeSpent spent = Spent(difference, name, metric, labels);
    if (spent.count > 0) time.storage.push_back(std::move(spent));
  }
  for (const std::string& reason : after.ValuesOf("evoke_rejected_total", "reason")) {
    Labels which = labels;
    which["reason"] = reason;
    const double count = difference.Of("evoke_rejected_total", which);
    if (count > 0) time.rejected[reason] = count;
  }
  return time;
}

}  // namespace evoke::load
