#include "server/base/clock.h"

#include <algorithm>
#include <utility>

namespace evoke {

RealClock::RealClock() : thread_([this] { Run(); }) {}

RealClock::~RealClock() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.SignalAll();
  thread_.join();
}

void RealClock::RunAt(absl::Time when, std::function<void()> work) {
  // At most a year: an infinite time must not overflow.
  const absl::Duration left = std::clamp(when - absl::Now(), absl::ZeroDuration(), absl::Hours(24 * 365));
  MutexLock lock(&mu_);
  timers_.emplace(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(left), std::move(work));
  wake_.SignalAll();
}

void RealClock::Run() {
  while (true) {
    std::function<void()> due;
    {
      MutexLock lock(&mu_);
      while (!stopping_) {
        const auto now = std::chrono::steady_clock::now();
        if (!timers_.empty() && timers_.begin()->first <= now) break;
        if (timers_.empty()) {
          wake_.Wait(&mu_);
        } else {
          wake_.WaitFor(&mu_, timers_.begin()->first - now);
        }
      }
      if (stopping_) return;
      due = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    }
    due();
  }
}

}  // namespace evoke
