#include "client/load/report_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/load/progress.h"

namespace evoke::load {
namespace {

std::string Latency(const Json& ms) {
  return LatencyText(absl::Milliseconds(ms.get<double>()));
}

void AppendCounts(const std::string& name, const Json& counts, std::string* text) {
  const Json& latency = counts["latency_ms"];
  absl::StrAppendFormat(text, "%-10s %9.1f %11.1f", name, counts["calls_per_second"].get<double>(),
                        counts["rows_per_second"].get<double>());
  for (const char* percentile : {"p50", "p90", "p99", "p99.9", "max"}) {
    absl::StrAppendFormat(text, " %9s", Latency(latency[percentile]));
  }
  absl::StrAppendFormat(text, " %7d %6d\n", counts["failed"].get<uint64_t>(), counts["shed"].get<uint64_t>());
}

std::string CountsOf(const Json& object) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : object.items())
    parts.push_back(absl::StrCat(name, " ", count.get<uint64_t>()));
  return absl::StrJoin(parts, ", ");
}

void AppendRun(const Json& run, std::string* text) {
  if (!run["rate"].is_null())
    absl::StrAppendFormat(text, "asked for %.6g calls/s; ", run["rate"].get<double>());
  absl::StrAppendFormat(text, "measured %.1f s, %d windows of %d, %s%s\n", run["seconds"].get<double>(),
                        run["counted_windows"].get<int>(), static_cast<int>(run["windows"].size()),
                        run["stable"].is_null()     ? "every call"
                        : run["stable"].get<bool>() ? "stable"
                                                    : "NOT stable",
                        run["interrupted"].get<bool>() ? ", interrupted" : "");
  absl::StrAppendFormat(text, "\n%-10s %9s %11s %9s %9s %9s %9s %9s %7s %6s\n", "", "calls/s", "rows/s",
                        "p50", "p90", "p99", "p99.9", "max", "failed", "shed");
  for (const auto& [name, counts] : run["methods"].items()) AppendCounts(name, counts, text);
  if (run["methods"].size() != 1) AppendCounts("all", run["all"], text);
  absl::StrAppendFormat(text, "\nthis program used %.2f cores", run["client_cpu_cores"].get<double>());
  if (!run["rate"].is_null()) {
    absl::StrAppendFormat(text, "; calls were sent late by p50 %s, p99 %s, max %s",
                          Latency(run["send_delay_ms"]["p50"]), Latency(run["send_delay_ms"]["p99"]),
                          Latency(run["send_delay_ms"]["max"]));
  }
  absl::StrAppend(text, "\n");
  if (!run["outcomes"].empty()) absl::StrAppend(text, "rows that wrote: ", CountsOf(run["outcomes"]), "\n");
  if (!run["errors"].empty()) {
    absl::StrAppend(text, "attempts that failed: ", CountsOf(run["errors"]),
                    "; sent again: ", run["retries"].get<uint64_t>(), "\n");
  }
}

void AppendSpent(const Json& spent, std::string* text) {
  for (const auto& [name, one] : spent.items()) {
    absl::StrAppendFormat(
        text, "  %-8s %9s %9s %9s %7s\n", name, Latency(one["mean_ms"]), Latency(one["p50_ms"]),
        Latency(one["p99_ms"]),
        one.contains("share") ? absl::StrFormat("%.1f%%", one["share"].get<double>() * 100) : "");
  }
}

void AppendServerTime(const Json& time, std::string* text) {
  if (time.contains("missing")) {
    absl::StrAppend(text, "\nwhere the server's time went: not known (", time["missing"].get<std::string>(),
                    ")\n");
    return;
  }
  absl::StrAppendFormat(
      text, "\nwhere the server's time went: %.1f turns/s, %.1f rows a turn, %.1f commits/s, %.2f cores\n",
      time["turns_per_second"].get<double>(), time["rows_per_turn"].get<double>(),
      time["commits_per_second"].get<double>(), time["cpu_cores"].get<double>());
  absl::StrAppendFormat(text, "  %-8s %9s %9s %9s %7s\n", "phase", "mean", "p50~", "p99~", "share");
  AppendSpent(time["phases"], text);
  if (!time["storage"].empty()) {
    absl::StrAppendFormat(text, "  %-8s\n", "storage");
    AppendSpent(time["storage"], text);
  }
  absl::StrAppend(text, "  second requests ", time["second_requests"].get<uint64_t>(),
                  ", retries answered from record ", time["retry_duplicates"].get<uint64_t>(), "\n");
  if (!time["rejected"].empty()) absl::StrAppend(text, "  rejected: ", CountsOf(time["rejected"]), "\n");
}

void AppendSearch(const Json& search, std::string* text) {
  absl::StrAppend(text, "\nsearch under");
  for (const Json& bound : search["bounds"]) {
    absl::StrAppendFormat(text, " p%g <= %s", bound["percentile"].get<double>(),
                          Latency(bound["latency_ms"]));
  }
  absl::StrAppendFormat(text, "\n  %11s %11s %9s %9s %9s\n", "rate", "calls/s", "p50", "p99", "");
  for (const Json& probe : search["probes"]) {
    absl::StrAppendFormat(text, "  %11.1f %11.1f %9s %9s %9s%s\n", probe["rate"].get<double>(),
                          probe["calls_per_second"].get<double>(), Latency(probe["latency_ms"]["p50"]),
                          Latency(probe["latency_ms"]["p99"]), probe["met"].get<bool>() ? "met" : "not met",
                          probe["stable"].get<bool>() ? "" : ", not stable");
  }
  if (search["best_rate"].is_null()) {
    absl::StrAppend(text, "no rate was within the bounds\n");
  } else {
    absl::StrAppendFormat(text, "highest rate within the bounds: %.6g calls/s\n",
                          search["best_rate"].get<double>());
  }
}

void AppendEnd(const Json& report, std::string* text) {
  const Json& correctness = report["correctness"];
  const Json& went = correctness["steps_of_memory"];
  absl::StrAppend(text, "\n", correctness["kept"].get<bool>() ? "correct" : "VIOLATED", ": ",
                  correctness["mutations_acknowledged"].get<uint64_t>(), " mutations of ",
                  correctness["steps_acknowledged"].get<uint64_t>(), " steps acknowledged, ",
                  went.is_null() ? "how far the memory went is not known"
                                 : absl::StrCat("the memory went ", went.get<uint64_t>()),
                  "; ", correctness["reads"].get<uint64_t>(), " reads; ",
                  correctness["last_mutations_replayed"].get<uint64_t>(), " last mutations sent again\n");
  if (correctness["mutations_unresolved"].get<uint64_t>() > 0) {
    absl::StrAppend(text, "  ", correctness["mutations_unresolved"].get<uint64_t>(),
                    " mutations may or may not have been applied: the server did not tell\n");
  }
  for (const Json& violation : correctness["violations"]) {
    absl::StrAppend(text, "  ", violation.get<std::string>(), "\n");
  }
  const uint64_t more = correctness["violation_count"].get<uint64_t>() - correctness["violations"].size();
  if (more > 0) absl::StrAppend(text, "  and ", more, " more\n");
  if (!report.contains("state")) return;
  const Json& state = report["state"];
  absl::StrAppend(text, "state hash ", state["state_hash"].get<std::string>(), " at step ",
                  state["step"].get<uint64_t>(), "\n");
}

}  // namespace

std::string ReportText(const Json& report) {
  const Json& memory = report["memory"];
  std::string text = absl::StrFormat(
      "\nevoked %s (%s), memory \"%s\": %d of %d slots x %d, %s, %s; client on %s, %d cores\n",
      report["server"]["version"].get<std::string>(), report["server"]["simd"].get<std::string>(),
      memory["name"].get<std::string>(), memory["live_slots"].get<uint64_t>(),
      memory["capacity"].get<uint64_t>(), memory["key_dim"].get<uint32_t>(),
      memory["index"].get<std::string>(), memory["durability"].get<std::string>(),
      report["machine"]["cpu"].get<std::string>(), report["machine"]["cores"].get<int>());
  if (report.contains("search")) AppendSearch(report["search"], &text);
  if (report.contains("run")) {
    AppendRun(report["run"], &text);
    AppendServerTime(report["run"]["server_time"], &text);
  }
  if (report.contains("correctness")) AppendEnd(report, &text);
  if (report.contains("verify")) {
    const Json& verify = report["verify"];
    absl::StrAppend(
        &text, "the same calls again: ", verify["equal"].get<bool>() ? "the same state" : "ANOTHER STATE",
        ", ", verify["state_hash"].get<std::string>(), " at step ", verify["step"].get<uint64_t>(), "\n");
  }
  return text;
}

}  // namespace evoke::load
