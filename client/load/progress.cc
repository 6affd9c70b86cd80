#include "client/load/progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace evoke::load {
namespace {

// "TrainStep 812/s p50 2.1 ms p99 4.3 ms | errors 0, in flight 8".
std::string Line(const Measurements& seen, absl::Duration length, const Driver::State& state) {
  const double seconds = std::max(absl::ToDoubleSeconds(length), 1e-9);
  std::string line;
  for (const Method method : kMethods) {
    const LatencyHistogram& latency = seen.of(method).latency;
    if (latency.count() == 0) continue;
    absl::StrAppendFormat(&line, "%s%s %.0f/s p50 %s p99 %s", line.empty() ? "" : ", ", Name(method),
                          static_cast<double>(latency.count()) / seconds, LatencyText(latency.Percentile(50)),
                          LatencyText(latency.Percentile(99)));
  }
  if (line.empty()) line = "no call ended";
  uint64_t errors = 0;
  for (const auto& [reason, count] : seen.errors) errors += count;
  absl::StrAppend(&line, " | errors ", errors, ", in flight ", state.in_flight);
  if (state.behind > absl::Milliseconds(1)) absl::StrAppend(&line, ", behind ", LatencyText(state.behind));
  return line;
}

}  // namespace

std::string LatencyText(absl::Duration latency) {
  const double seconds = absl::ToDoubleSeconds(latency);
  const auto [number, unit] = seconds < 1e-3  ? std::pair(seconds * 1e6, "us")
                              : seconds < 1.0 ? std::pair(seconds * 1e3, "ms")
                                              : std::pair(seconds, "s");
  return absl::StrFormat("%.*f %s", number < 10 ? 2 : number < 100 ? 1 : 0, number, unit);
}

Progress::~Progress() {
  EndLine();
}

void Progress::OnTick(const Measurements& so_far, absl::Duration open, const Driver::State& state) {
  if (options_.terminal) Draw(Line(so_far, open, state));
}

void Progress::OnWindow(int number, const WindowSummary& window, const Measurements& seen,
                        const Driver::State& state) {
  const std::string line = absl::StrCat("window ", number, ": ", Line(seen, window.length, state));
  if (options_.terminal) return Draw(line);
  options_.out << line << '\n' << std::flush;
}

void Progress::Note(const std::string& text) {
  EndLine();
  options_.out << text << '\n' << std::flush;
}

void Progress::Draw(std::string line) {
  const size_t size = line.size();
  if (drawn_size_ > size) line.append(drawn_size_ - size, ' ');
  options_.out << '\r' << line << std::flush;
  drawn_size_ = size;
}

void Progress::EndLine() {
  if (drawn_size_ > 0) options_.out << '\n' << std::flush;
  drawn_size_ = 0;
}

}  // namespace evoke::load
