#include "client/load/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace evoke::load {
namespace {

absl::Duration SteadyTime() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

SteadyClock::SteadyClock() : offset_(absl::Now() - SteadyTime()) {}

absl::Time SteadyClock::Now() {
  return offset_ + SteadyTime();
}

void SteadyClock::Sleep(absl::Duration duration) {
  absl::SleepFor(duration);
}

}  // namespace evoke::load
