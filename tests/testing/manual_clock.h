// Time that passes when a test says so.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace evoke::testing {

// Thread-safe. Work that RunAt was given runs inside Advance, on its thread.
class ManualClock final : public Clock {
 public:
  absl::Time Now() override {
    MutexLock lock(&mu_);
    return now_;
  }
  void RunAt(absl::Time when, std::function<void()> work) override {
    MutexLock lock(&mu_);
    timers_.emplace(when, std::move(work));
  }
  void Advance(absl::Duration by) {
    std::multimap<absl::Time, std::function<void()>> due;
    {
      MutexLock lock(&mu_);
      now_ += by;
      while (!timers_.empty() && timers_.begin()->first <= now_) due.insert(timers_.extract(timers_.begin()));
    }
    for (auto& [when, work] : due) work();
  }

 private:
  Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'000'000);
  std::multimap<absl::Time, std::function<void()>> timers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::testing
