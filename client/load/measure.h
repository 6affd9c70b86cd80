// One measurement: warm-up, then windows until they agree.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/load/clock.h"
#include "client/load/driver.h"
#include "client/load/measurements.h"
#include "client/load/options.h"
#include "client/load/prometheus_text.h"
#include "client/load/server_time.h"
#include "client/load/stability.h"

namespace evoke::load {

// What is kept of a window.
struct WindowSummary {
  absl::Duration length;
  double calls_per_second = 0;
  double rows_per_second = 0;
  absl::Duration p50;
  absl::Duration p99;
  uint64_t failed = 0;
  uint64_t shed = 0;
  absl::Duration behind;  // at its end (Driver::State)
};

struct MeasuredRun {
  std::optional<double> rate;  // asked for; nullopt: closed loop
  std::vector<WindowSummary> windows;
  int counted_windows = 0;  // the last ones, which `seen` is the sum of
  bool every_call = false;  // LoadOptions::calls: no windows had to agree
  bool stable = false;
  bool interrupted = false;
  absl::Duration length;  // of the counted ones
  Measurements seen;
  double client_cpu_seconds = 0;  // of this program, meanwhile
  absl::StatusOr<ServerTime> server_time = absl::UnavailableError("no --metrics URL was given");

  double calls_per_second() const;
  // Whether every bound holds and every call succeeded.
  bool Meets(const std::vector<LatencyBound>& bounds) const;
};

// Told of how it goes. Called by the measuring thread.
class MeasurementObserver {
 public:
  virtual ~MeasurementObserver() = default;
  // A few times a second; `so_far` is of the open window.
  virtual void OnTick(const Measurements& so_far, absl::Duration open, const Driver::State& state) = 0;
  virtual void OnWindow(int number, const WindowSummary& window, const Measurements& seen,
                        const Driver::State& state) = 0;
};

// Runs measurements on one driver, one after the other. Everything it is given outlives it.
// Thread-compatible; blocks.
class Measurer {
 public:
  struct Options {
    MeasurementOptions measurement;
    bool until_finished = false;  // until the driver has begun all its calls: no warm-up, all windows count
    std::string memory;           // name, as the metrics label it
    absl::Duration drain;         // patience with calls under way at the end; then they are abandoned
    std::function<absl::StatusOr<Scrape>()>
        scrape;  // of the server's metrics, at the ends of windows; may be null
  };
  Measurer(Options options, Driver* driver, Clock* clock, const std::atomic<bool>* interrupted,
           MeasurementObserver* observer)
      : options_(std::move(options)),
        driver_(driver),
        clock_(clock),
        interrupted_(interrupted),
        observer_(observer) {}

  // Starts the driver, measures, stops it and waits until it is idle. With `bounds` it ends as soon as two
  // windows in a row break them: more of the same would not change that. `arrivals`: its start is set to now.
  MeasuredRun Measure(std::optional<Arrivals::Options> arrivals,
                      const std::vector<LatencyBound>& bounds = {});

 private:
  // The edge of a window.
  struct Edge {
    absl::Time time;
    double cpu_seconds = 0;
    absl::StatusOr<Scrape> scrape;
  };
  Edge TakeEdge();
  bool Over() const;
  // Waits until `end`, or until it is over.
  void WaitUntil(absl::Time begin, absl::Time end, bool show);
  // Stops the driver, and waits until it is idle. Returns: what ended meanwhile.
  Measurements Drain();

  const Options options_;
  Driver* const driver_;
  Clock* const clock_;
  const std::atomic<bool>* const interrupted_;
  MeasurementObserver* const observer_;
};

}  // namespace evoke::load
