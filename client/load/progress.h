// How a run goes, for somebody who watches.
#pragma once

#include <ostream>
#include <string>

#include "client/load/measure.h"

namespace evoke::load {

// On a terminal one line, drawn again a few times a second; elsewhere a line a window. Thread-compatible.
class Progress final : public MeasurementObserver {
 public:
  struct Options {
    std::ostream& out;      // outlives it
    bool terminal = false;  // `out` understands a carriage return
  };
  explicit Progress(Options options) : options_(options) {}
  // Ends the open line.
  ~Progress() override;

  void OnTick(const Measurements& so_far, absl::Duration open, const Driver::State& state) override;
  void OnWindow(int number, const WindowSummary& window, const Measurements& seen,
                const Driver::State& state) override;
  // A line that stays.
  void Note(const std::string& text);
  void EndLine();

 private:
  void Draw(std::string line);

  const Options options_;
  size_t drawn_size_ = 0;  // of the open line: what follows covers it
};

// "812 us", "4.31 ms", "1.20 s": three digits.
std::string LatencyText(absl::Duration latency);

}  // namespace evoke::load
