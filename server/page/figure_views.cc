#include "server/page/figure_views.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace evoke {
namespace {

constexpr size_t kAgeBins = 32;
constexpr size_t kRateSeconds = 10;  // that a rate is the mean of

// A column of the history, and the mean of its last seconds.
template <typename Second, typename Number>
Json Column(const std::vector<Second>& seconds, Number Second::*field) {
  Json column = Json::array();
  for (const Second& second : seconds) column.push_back(second.*field);
  return column;
}

template <typename Second>
double Rate(const std::vector<Second>& seconds, uint32_t Second::*field) {
  double sum = 0;
  for (size_t i = seconds.size() - std::min(kRateSeconds, seconds.size()); i < seconds.size(); ++i)
    sum += seconds[i].*field;
  return sum / static_cast<double>(kRateSeconds);
}

const char* DurabilityName(SpecDurability durability) {
  constexpr const char* kNames[] = {"?", "memory", "wal", "fsync"};
  return kNames[static_cast<int>(durability)];
}

Json ToJson(const MemorySpec& spec) {
  Json json = {{"key_dim", spec.key_dim},
               {"capacity", spec.capacity},
               {"seed", absl::StrCat(spec.seed)},
               {"choose_k", spec.choose_k},
               {"margin", spec.margin},
               {"inverse_temperature", spec.inverse_temperature},
               {"age_noise", spec.age_noise},
               {"batch", spec.batch == BatchMode::kAtomic ? "atomic" : "sequential"},
               {"payload_history", spec.payload_history},
               {"partitions", spec.partitions},
               {"durability", DurabilityName(spec.durability)}};
  json["merge_on_miss"] = spec.merge_on_miss ? Json(*spec.merge_on_miss) : Json();
  json["fold_misses"] = spec.fold_misses ? Json(*spec.fold_misses) : Json();
  return json;
}

}  // namespace

const char* StateName(MemoryState state) {
  constexpr const char* kNames[] = {"?", "loading", "serving", "read-only", "failed", "draining"};
  return kNames[static_cast<int>(state)];
}

Json ToSummary(const MemoryFigures& figures, const TurnHistory& history) {
  Json json = {{"name", figures.name},
               {"state", StateName(figures.state)},
               {"message", std::string(figures.why.message())},
               {"live_slots", figures.live_count},
               {"capacity", figures.spec.capacity},
               {"key_dim", figures.spec.key_dim},
               {"distinct_values", figures.distinct_values},
               {"step", figures.step.value},
               {"turn", figures.turn.value},
               {"mailbox_rows", figures.mailbox_rows},
               {"rows_read_per_second", Rate(history.seconds, &SecondOfTurns::rows_read)},
               {"observations_per_second", Rate(history.seconds, &SecondOfTurns::hits) +
                                               Rate(history.seconds, &SecondOfTurns::inserts) +
                                               Rate(history.seconds, &SecondOfTurns::evictions)},
               {"turn_p50_seconds", history.p50_seconds},
               {"turn_p99_seconds", history.p99_seconds}};
  if (figures.state == MemoryState::kLoading) {
    json["slots_loaded"] = figures.slots_loaded;
    json["slots_to_load"] = figures.slots_to_load;
  }
  return json;
}

Json ToDetails(const MemoryFigures& figures, const TurnHistory& history, absl::Time now) {
  Json json = ToSummary(figures, history);
  json["uid"] = figures.uid.ToString();
  json["epoch"] = figures.epoch.value;
  json["state_hash"] = figures.state_hash.ToString();
  json["spec"] = ToJson(figures.spec);
  json["index"] = figures.index;
  json["shards"] = figures.shards;
  json["sessions"] = figures.sessions;
  json["ram_bytes"] = figures.ram_bytes;
  json["stored_bytes"] = figures.stored_bytes;
  json["first_kept_turn"] = figures.first_kept_turn.value;
  json["uncertified_rows"] = figures.uncertified_rows;
  json["last_snapshot_seconds_ago"] =
      figures.last_snapshot == absl::InfinitePast() ? Json() : Json(absl::ToDoubleSeconds(now - figures.last_snapshot));
  json["audit"] = {{"slots", figures.audit.slots},
                   {"passes", figures.audit.passes},
                   {"index_differences", figures.audit.index_differences},
                   {"store_differences", figures.audit.store_differences}};
  json["ages"] = AgeHistogram(figures.sampled_ages);
  json["seconds"] = {{"turns", Column(history.seconds, &SecondOfTurns::turns)},
                     {"rows_read", Column(history.seconds, &SecondOfTurns::rows_read)},
                     {"hits", Column(history.seconds, &SecondOfTurns::hits)},
                     {"inserts", Column(history.seconds, &SecondOfTurns::inserts)},
                     {"evictions", Column(history.seconds, &SecondOfTurns::evictions)},
                     {"slowest_seconds", Column(history.seconds, &SecondOfTurns::slowest_seconds)}};
  json["evictions"] = Json::array();
  for (const RecentEviction& eviction : history.evictions) {
    json["evictions"].push_back({{"slot", eviction.slot},
                                 {"old_value", absl::StrCat(eviction.old_value)},
                                 {"new_value", absl::StrCat(eviction.new_value)},
                                 {"age", eviction.age},
                                 {"step", eviction.step},
                                 {"seconds_ago", absl::ToDoubleSeconds(now - eviction.at)}});
  }
  return json;
}

Json AgeHistogram(const std::vector<uint64_t>& ages) {
  Json json = {{"sampled", ages.size()}, {"quantiles", Json::object()}, {"bins", Json::array()}};
  if (ages.empty()) return json;
  for (const double quantile : {0.0, 0.25, 0.5, 0.75, 0.9, 1.0}) {
    json["quantiles"][absl::StrFormat("%g", quantile)] =
        ages[static_cast<size_t>(quantile * static_cast<double>(ages.size() - 1))];
  }
  const uint64_t width = ages.back() / kAgeBins + 1;  // so that the oldest is within the last bin
  std::vector<uint64_t> counts(ages.back() / width + 1);
  for (const uint64_t age : ages) ++counts[age / width];
  for (size_t i = 0; i < counts.size(); ++i)
    json["bins"].push_back({{"from", i * width}, {"to", (i + 1) * width - 1}, {"count", counts[i]}});
  return json;
}

Json ToJson(const std::vector<CallHistory>& calls) {
  Json json = Json::array();
  for (const CallHistory& of : calls) {
    json.push_back({{"method", of.method},
                    {"per_second", Rate(of.seconds, &SecondOfCalls::calls)},
                    {"errors_per_second", Rate(of.seconds, &SecondOfCalls::errors)},
                    {"p50_seconds", of.p50_seconds},
                    {"p99_seconds", of.p99_seconds},
                    {"calls", Column(of.seconds, &SecondOfCalls::calls)},
                    {"errors", Column(of.seconds, &SecondOfCalls::errors)}});
  }
  return json;
}

Json ToJson(const Alarm& alarm, absl::Time now) {
  return {{"name", alarm.name},
          {"memory", alarm.memory},
          {"message", alarm.message},
          {"active_seconds", absl::ToDoubleSeconds(now - alarm.since)}};
}

}  // namespace evoke
