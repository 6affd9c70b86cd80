// A clock that only sleeping moves: tests of waits take no time and can read how long they were.
#pragma once

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "evoke/clock.h"

namespace evoke::client {

// Thread-safe.
class ManualClock final : public Clock {
 public:
  absl::Time Now() override {
    absl::MutexLock lock(&mu_);
    return now_;
  }
  void Sleep(absl::Duration duration) override {
    absl::MutexLock lock(&mu_);
    now_ += duration;
    sleeps_.push_back(duration);
  }
  // Sleeps, and then works.
  void CallAfter(absl::Duration duration, std::function<void()> work) override {
    Sleep(duration);
    work();
  }
  // Every sleep so far, in order.
  std::vector<absl::Duration> sleeps() const {
    absl::MutexLock lock(&mu_);
    return sleeps_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'000'000'000);
  std::vector<absl::Duration> sleeps_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::client
