#include "client/load/pacer.h"

#include <sys/prctl.h>

namespace evoke::load {

Pacer::Pacer(Driver* driver, Clock* clock) : driver_(driver), clock_(clock) {
  driver_->SetWaker([this] {
    absl::MutexLock lock(&mu_);
    woken_ = true;
  });
  thread_ = std::thread([this] { Run(); });
}

Pacer::~Pacer() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void Pacer::Run() {
  // Linux may wake a sleeper 50 us late to save wake-ups; at thousands of calls a second that is a latency of
  // its own.
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  const auto due = [this] {
    mu_.AssertReaderHeld();
    return woken_ || stopping_;
  };
  for (;;) {
    const absl::Time next = driver_->Poll();
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&due), next - clock_->Now());
    if (stopping_) return;
    woken_ = false;
  }
}

}  // namespace evoke::load
