#include "server/page/statusz.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/page/figure_views.h"

namespace evoke {
namespace {

std::string Bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double number = static_cast<double>(bytes);
  int unit = 0;
  while (number >= 1024 && unit < 4) {
    number /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : "%.1f %s", number, kUnits[unit]);
}

std::string Latency(double seconds) {
  if (seconds == 0) return "-";
  return seconds < 1 ? absl::StrFormat("%.2f ms", seconds * 1e3) : absl::StrFormat("%.2f s", seconds);
}

std::string Since(absl::Duration duration) { return absl::FormatDuration(absl::Trunc(duration, absl::Seconds(1))); }

}  // namespace

std::string StatuszText(const StatuszInput& input) {
  const ProcessFacts& facts = input.facts;
  std::string text = absl::StrFormat("evoked %s (%s), process %d, %s\n\n", facts.version, facts.commit, facts.process,
                                     input.state);
  absl::StrAppendFormat(&text, "up            %s, since %s\n", Since(input.now - facts.started),
                        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", facts.started, absl::UTCTimeZone()));
  absl::StrAppendFormat(&text, "instance      %s\n", facts.instance);
  absl::StrAppendFormat(&text, "instructions  %s, arithmetic fingerprint %s\n", facts.simd, facts.arithmetic_fingerprint);
  absl::StrAppendFormat(&text, "configuration %s (digest; /configz has it)\n", facts.config_digest);
  absl::StrAppendFormat(&text, "RAM planned   %s of %s\n", Bytes(input.budget.planned),
                        input.budget.bytes == 0 ? "any" : Bytes(input.budget.bytes));

  absl::StrAppendFormat(&text, "\nalarms: %d\n", input.alarms.size());
  for (const Alarm& alarm : input.alarms) {
    absl::StrAppendFormat(&text, "  %s of memory %s, for %s: %s\n", alarm.name, alarm.memory,
                          Since(input.now - alarm.since), alarm.message);
  }

  absl::StrAppendFormat(&text, "\nmemories: %d; rates of the last ten seconds, latencies of the last minute\n",
                        input.memories.size());
  if (!input.memories.empty()) {
    absl::StrAppendFormat(&text, "  %-24s %-9s %10s %10s %12s %12s %9s %9s %10s %10s %10s\n", "name", "state", "live",
                          "capacity", "turn", "step", "reads/s", "writes/s", "turn p50", "turn p99", "RAM");
  }
  for (size_t i = 0; i < input.memories.size(); ++i) {
    const MemoryFigures& m = input.memories[i];
    const Json summary = ToSummary(m, input.histories[i]);
    absl::StrAppendFormat(&text, "  %-24s %-9s %10d %10d %12d %12d %9.1f %9.1f %10s %10s %10s\n", m.name,
                          StateName(m.state), m.live_count, m.spec.capacity, m.turn.value, m.step.value,
                          summary["rows_read_per_second"].get<double>(), summary["observations_per_second"].get<double>(),
                          Latency(summary["turn_p50_seconds"]), Latency(summary["turn_p99_seconds"]), Bytes(m.ram_bytes));
    if (!m.why.ok()) absl::StrAppend(&text, "    ", m.why.message(), "\n");
  }

  absl::StrAppend(&text, "\ncalls: rates of the last ten seconds, latencies of the last minute\n");
  for (const Json& call : ToJson(input.calls)) {
    absl::StrAppendFormat(&text, "  %-32s %9.1f/s %9.1f errors/s  p50 %s, p99 %s\n", call["method"].get<std::string>(),
                          call["per_second"].get<double>(), call["errors_per_second"].get<double>(),
                          Latency(call["p50_seconds"]), Latency(call["p99_seconds"]));
  }
  return text;
}

}  // namespace evoke
