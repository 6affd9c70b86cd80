#include "client/load/measure.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace evoke::load {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);  // how late an interrupt may be noticed
constexpr int kTicksPerLook = 5;

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool Holds(const LatencyHistogram& latencies, const std::vector<LatencyBound>& bounds) {
  return latencies.count() > 0 && std::all_of(bounds.begin(), bounds.end(), [&](const LatencyBound& bound) {
           return latencies.Percentile(bound.percentile) <= bound.latency;
         });
}

WindowSummary Summarise(const Measurements& seen, absl::Duration length, const Driver::State& state) {
  const double seconds = std::max(absl::ToDoubleSeconds(length), 1e-9);
  const LatencyHistogram all = seen.AllLatencies();
  return {.length = length,
          .calls_per_second = static_cast<double>(seen.calls()) / seconds,
          .rows_per_second = static_cast<double>(seen.rows()) / seconds,
          .p50 = all.Percentile(50),
          .p99 = all.Percentile(99),
          .failed = seen.failed(),
          .shed = seen.shed(),
          .behind = state.behind};
}

}  // namespace

double MeasuredRun::calls_per_second() const {
  return static_cast<double>(seen.calls()) / std::max(absl::ToDoubleSeconds(length), 1e-9);
}

bool MeasuredRun::Meets(const std::vector<LatencyBound>& bounds) const {
  return seen.failed() == 0 && seen.shed() == 0 && Holds(seen.AllLatencies(), bounds);
}

Measurer::Edge Measurer::TakeEdge() {
  return {.time = clock_->Now(),
          .cpu_seconds = CpuSeconds(),
          .scrape = options_.scrape ? options_.scrape() : MeasuredRun().server_time.status()};
}

bool Measurer::Over() const {
  if (interrupted_->load(std::memory_order_relaxed)) return true;
  if (!options_.until_finished) return false;
  const Driver::State state = driver_->state();
  return state.finished && state.in_flight == 0;
}

void Measurer::WaitUntil(absl::Time begin, absl::Time end, bool show) {
  for (int tick = 1; !Over(); ++tick) {
    const absl::Time now = clock_->Now();
    if (now >= end) return;
    if (show && tick % kTicksPerLook == 0) observer_->OnTick(driver_->Look(), now - begin, driver_->state());
    clock_->Sleep(std::min(kTick, end - now));
  }
}

Measurements Measurer::Drain() {
  driver_->Stop();
  const absl::Time end = clock_->Now() + options_.drain;
  while (!driver_->idle() && clock_->Now() < end) clock_->Sleep(absl::Milliseconds(1));
  if (!driver_->idle()) driver_->Abandon();
  // Every attempt has a deadline, so this ends.
  while (!driver_->idle()) clock_->Sleep(absl::Milliseconds(1));
  return driver_->Take();
}

MeasuredRun Measurer::Measure(std::optional<Arrivals::Options> arrivals,
                              const std::vector<LatencyBound>& bounds) {
  const MeasurementOptions& plan = options_.measurement;
  MeasuredRun run{.every_call = options_.until_finished};
  if (arrivals.has_value()) {
    run.rate = arrivals->rate;
    arrivals->start = clock_->Now();
  }
  driver_->Take();
  driver_->Start(arrivals.has_value() ? std::optional<Arrivals>(*arrivals) : std::nullopt);
  if (!options_.until_finished) {
    const absl::Time now = clock_->Now();
    WaitUntil(now, now + plan.warmup, /*show=*/false);
    driver_->Take();
  }

  std::vector<WindowFigures> figures;
  std::deque<Measurements> last;  // windows that count, if it ends now
  std::deque<Edge> edges;         // before the first of them, and after each
  edges.push_back(TakeEdge());
  int broken = 0;  // windows in a row that break the bounds
  while (!Over() && broken < 2) {
    WaitUntil(edges.back().time, edges.back().time + plan.window, /*show=*/true);
    const Driver::State state = driver_->state();
    last.push_back(driver_->Take());
    edges.push_back(TakeEdge());
    const absl::Duration length = edges.back().time - edges[edges.size() - 2].time;
    run.windows.push_back(Summarise(last.back(), length, state));
    observer_->OnWindow(static_cast<int>(run.windows.size()), run.windows.back(), last.back(), state);

    const LatencyHistogram all = last.back().AllLatencies();
    figures.push_back({.calls_per_second = run.windows.back().calls_per_second,
                       .latency = all.Percentile(plan.percentile)});
    broken = bounds.empty() || Holds(all, bounds) ? 0 : broken + 1;
    if (options_.until_finished) {
      // A run of any length is one sum.
      if (last.size() == 2) {
        last.front().Add(last.back());
        last.pop_back();
        edges.erase(edges.begin() + 1);
      }
      continue;
    }
    if (last.size() > static_cast<size_t>(plan.stable_windows)) {
      last.pop_front();
      edges.pop_front();
    }
    run.stable = IsStable(figures, plan.stable_windows, plan.tolerance);
    if (run.stable || static_cast<int>(figures.size()) >= plan.max_windows) break;
  }
  run.interrupted = interrupted_->load(std::memory_order_relaxed);
  const Measurements rest = Drain();
  if (options_.until_finished)
    run.seen.Add(rest);  // what ended between the last look at the driver and its last call

  for (const Measurements& window : last) run.seen.Add(window);
  run.counted_windows =
      options_.until_finished ? static_cast<int>(run.windows.size()) : static_cast<int>(last.size());
  run.length = edges.back().time - edges.front().time;
  run.client_cpu_seconds = edges.back().cpu_seconds - edges.front().cpu_seconds;
  if (!edges.front().scrape.ok()) {
    run.server_time = edges.front().scrape.status();
  } else if (!edges.back().scrape.ok()) {
    run.server_time = edges.back().scrape.status();
  } else {
    run.server_time = TimeBetween(*edges.front().scrape, *edges.back().scrape, options_.memory);
  }
  return run;
}

}  // namespace evoke::load
