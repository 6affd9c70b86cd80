#include "client/load/stability.h"

#include <cmath>

namespace evoke::load {

bool IsStable(const std::vector<WindowFigures>& figures, int windows, double tolerance) {
  const size_t count = static_cast<size_t>(windows);
  if (figures.size() < count) return false;
  const auto first = figures.end() - windows;
  double mean_rate = 0;
  double mean_latency = 0;
  for (auto it = first; it != figures.end(); ++it) {
    if (it->calls_per_second <= 0) return false;
    mean_rate += it->calls_per_second / windows;
    mean_latency += absl::ToDoubleSeconds(it->latency) / windows;
  }
  const auto near = [tolerance](double value, double mean) {
    return std::abs(value - mean) <= tolerance * mean;
  };
  for (auto it = first; it != figures.end(); ++it) {
    if (!near(it->calls_per_second, mean_rate)) return false;
    if (!near(absl::ToDoubleSeconds(it->latency), mean_latency)) return false;
  }
  return true;
}

}  // namespace evoke::load
