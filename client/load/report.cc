#include "client/load/report.h"

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"
#include "evoke/names.h"

namespace evoke::load {
namespace {

double Ms(absl::Duration duration) {
  return absl::ToDoubleMilliseconds(duration);
}

Json LatencyJson(const LatencyHistogram& latency) {
  return {{"mean", Ms(latency.Mean())},        {"min", Ms(latency.Min())},
          {"p50", Ms(latency.Percentile(50))}, {"p90", Ms(latency.Percentile(90))},
          {"p99", Ms(latency.Percentile(99))}, {"p99.9", Ms(latency.Percentile(99.9))},
          {"max", Ms(latency.Max())}};
}

Json CountsJson(uint64_t calls, uint64_t rows, uint64_t failed, uint64_t shed, double seconds,
                const LatencyHistogram& latency) {
  return {{"calls", calls},
          {"calls_per_second", seconds > 0 ? static_cast<double>(calls) / seconds : 0},
          {"rows_per_second", seconds > 0 ? static_cast<double>(rows) / seconds : 0},
          {"failed", failed},
          {"shed", shed},
          {"latency_ms", LatencyJson(latency)}};
}

Json SpentJson(const std::vector<TimeSpent>& spent, double turns) {
  double sum = 0;
  for (const TimeSpent& one : spent) {
    if (one.name != "queue") sum += one.seconds;
  }
  Json json = Json::object();
  for (const TimeSpent& one : spent) {
    json[one.name] = {{"count", one.count},
                      {"seconds", one.seconds},
                      {"mean_ms", one.seconds / one.count * 1e3},
                      {"p50_ms", one.p50 * 1e3},
                      {"p99_ms", one.p99 * 1e3},
                      {"per_turn_ms", turns > 0 ? one.seconds / turns * 1e3 : 0}};
    // Waiting is no work, and waits of several requests overlap.
    if (one.name != "queue" && sum > 0) json[one.name]["share"] = one.seconds / sum;
  }
  return json;
}

Json ServerTimeJson(const absl::StatusOr<ServerTime>& time, double seconds) {
  if (!time.ok()) return {{"missing", std::string(time.status().message())}};
  Json json = {{"turns", time->turns},
               {"turns_per_second", time->turns / seconds},
               {"rows_per_turn", time->turns > 0 ? time->rows / time->turns : 0},
               {"commits_per_second", time->commits / seconds},
               {"phases", SpentJson(time->phases, time->turns)},
               {"storage", SpentJson(time->storage, time->turns)}};
  for (auto& [name, spent] : json["storage"].items()) spent.erase("share");
  json["second_requests"] = time->more;
  json["retry_duplicates"] = time->retry_duplicates;
  json["rejected"] = time->rejected;
  json["cpu_cores"] = time->cpu_seconds / seconds;
  return json;
}

const char* FormName(client::ReturnForm form) {
  switch (form) {
    case client::ReturnForm::kScores:
      return "scores";
    case client::ReturnForm::kGradient:
      return "gradient";
    case client::ReturnForm::kKeys:
      break;
  }
  return "keys";
}

}  // namespace

Json ToJson(const Options& options, const RowSource::Options& rows) {
  Json mix = Json::object();
  for (const Method method : kMethods) mix[Name(method)] = options.workload.mix.Share(method);
  Json json = {{"arguments", options.arguments},
               {"loop", options.load.rate.has_value() || options.search.has_value() ? "open" : "closed"},
               {"connections", options.load.connections},
               {"in_flight", options.load.in_flight},
               {"mix", mix},
               {"rows", options.workload.rows},
               {"form", FormName(options.workload.form)},
               {"neighbors", options.workload.neighbors},
               {"values", rows.values},
               {"spread", rows.spread},
               {"seed", rows.seed},
               {"shed", options.load.shed},
               {"deadline_seconds", absl::ToDoubleSeconds(options.client.deadline)}};
  if (options.load.rate.has_value()) json["rate"] = *options.load.rate;
  if (json["loop"] == "open") {
    json["arrivals"] = options.load.arrivals == ArrivalKind::kPoisson ? "poisson" : "constant";
  }
  if (options.workload.k.has_value()) json["k"] = *options.workload.k;
  if (rows.zipf.has_value()) json["zipf"] = *rows.zipf;
  if (options.load.calls.has_value()) {
    json["calls"] = *options.load.calls;
  } else {
    const MeasurementOptions& plan = options.measurement;
    json["measurement"] = {{"warmup_seconds", absl::ToDoubleSeconds(plan.warmup)},
                           {"window_seconds", absl::ToDoubleSeconds(plan.window)},
                           {"stable_windows", plan.stable_windows},
                           {"tolerance", plan.tolerance},
                           {"percentile", plan.percentile},
                           {"max_windows", plan.max_windows}};
  }
  return json;
}

Json ToJson(const Machine& machine) {
  return {{"cpu", machine.cpu}, {"cores", machine.cores}, {"system", machine.system}};
}

Json ToJson(const client::ServerStatus& server) {
  return {{"version", server.version},
          {"instance", server.instance.ToHex()},
          {"simd", server.simd},
          {"arithmetic_fingerprint", server.arithmetic_fingerprint},
          {"uptime_seconds", server.uptime_seconds}};
}

Json ToJson(const client::MemoryDescription& memory) {
  return {{"name", memory.name},
          {"uid", memory.uid.ToHex()},
          {"key_dim", memory.spec.key_dim},
          {"capacity", memory.spec.capacity},
          {"choose_k", memory.spec.choose_k.value_or(0)},
          {"age_noise", memory.spec.age_noise.value_or(0)},
          {"batch", client::Name(memory.spec.batch)},
          {"durability", client::Name(memory.spec.durability)},
          {"index", memory.index},
          {"shards", memory.shards},
          {"live_slots", memory.live_slots},
          {"turn", memory.turn},
          {"step", memory.step}};
}

Json ToJson(const MeasuredRun& run) {
  const double seconds = absl::ToDoubleSeconds(run.length);
  const Measurements& seen = run.seen;
  Json json = {{"rate", run.rate.has_value() ? Json(*run.rate) : Json()},
               {"stable", run.every_call ? Json() : Json(run.stable)},
               {"interrupted", run.interrupted},
               {"seconds", seconds},
               {"counted_windows", run.counted_windows}};
  json["all"] =
      CountsJson(seen.calls(), seen.rows(), seen.failed(), seen.shed(), seconds, seen.AllLatencies());
  json["methods"] = Json::object();
  for (const Method method : kMethods) {
    const MethodMeasurements& one = seen.of(method);
    if (one.latency.count() + one.failed + one.shed == 0) continue;
    json["methods"][Name(method)] =
        CountsJson(one.latency.count(), one.rows, one.failed, one.shed, seconds, one.latency);
  }
  json["send_delay_ms"] = LatencyJson(seen.send_delay);
  json["errors"] = seen.errors;
  json["retries"] = seen.retries;
  json["outcomes"] = Json::object();
  for (size_t i = 0; i < seen.outcomes.size(); ++i) {
    if (seen.outcomes[i] > 0)
      json["outcomes"][client::Name(static_cast<client::Outcome>(i))] = seen.outcomes[i];
  }
  json["client_cpu_cores"] = seconds > 0 ? run.client_cpu_seconds / seconds : 0;
  json["server_time"] = ServerTimeJson(run.server_time, seconds > 0 ? seconds : 1);
  json["windows"] = Json::array();
  for (const WindowSummary& window : run.windows) {
    json["windows"].push_back({{"seconds", absl::ToDoubleSeconds(window.length)},
                               {"calls_per_second", window.calls_per_second},
                               {"rows_per_second", window.rows_per_second},
                               {"p50_ms", Ms(window.p50)},
                               {"p99_ms", Ms(window.p99)},
                               {"failed", window.failed},
                               {"shed", window.shed},
                               {"behind_ms", Ms(window.behind)}});
  }
  return json;
}

Json ToJson(const RateSearch& search, const std::vector<Probe>& probes, const SearchOptions& options) {
  Json json = {{"bounds", Json::array()},
               {"best_rate", search.best().has_value() ? Json(*search.best()) : Json()},
               {"failed_rate", search.failed().has_value() ? Json(*search.failed()) : Json()},
               {"probes", Json::array()}};
  for (const LatencyBound& bound : options.bounds) {
    json["bounds"].push_back({{"percentile", bound.percentile}, {"latency_ms", Ms(bound.latency)}});
  }
  for (const Probe& probe : probes) {
    const LatencyHistogram all = probe.run.seen.AllLatencies();
    json["probes"].push_back({{"rate", probe.run.rate.value_or(0)},
                              {"met", probe.met},
                              {"stable", probe.run.stable},
                              {"calls_per_second", probe.run.calls_per_second()},
                              {"failed", probe.run.seen.failed()},
                              {"shed", probe.run.seen.shed()},
                              {"latency_ms", LatencyJson(all)}});
  }
  return json;
}

Json ToJson(const CampaignEnd& end) {
  const Judge::Verdict& verdict = end.verdict;
  Json json;
  json["correctness"] = {
      {"kept", verdict.kept()},
      {"mutations_acknowledged", verdict.mutations},
      {"reads", verdict.reads},
      {"steps_acknowledged", verdict.steps_acknowledged},
      {"steps_of_memory", verdict.steps_of_memory.has_value() ? Json(*verdict.steps_of_memory) : Json()},
      {"mutations_unresolved", verdict.unresolved_mutations},
      {"last_mutations_replayed", verdict.replays},
      {"replay_error", end.replay.ok() ? Json() : Json(std::string(end.replay.message()))},
      {"violation_count", verdict.violation_count},
      {"violations", verdict.violations}};
  if (end.state.ok()) {
    json["state"] = {{"turn", end.state->header.turn},
                     {"step", end.state->header.step},
                     {"live_slots", end.state->live_slots},
                     {"state_hash", end.state->state_hash}};
  } else {
    json["error"] = ToJson(end.state.status());
  }
  return json;
}

Json ToJson(const absl::Status& error) {
  return {{"code", absl::StatusCodeToString(error.code())},
          {"reason", client::GetErrorDetails(error).reason},
          {"message", std::string(error.message())}};
}

}  // namespace evoke::load
