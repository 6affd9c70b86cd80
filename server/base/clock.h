// Time, injected: deadlines are decided by it before a task enters a turn; nothing durable depends on it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace evoke {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  // Runs `work` once, at `when` or soon after, on a thread of the clock's; short work only.
  virtual void RunAt(absl::Time when, std::function<void()> work) = 0;
};

// The machine's clock and one timer thread. Work that is still waiting when it goes is dropped. A timer runs when as
// much time has passed as there was left when it was set: the wall clock may jump meanwhile.
class RealClock final : public Clock {
 public:
  RealClock();
  ~RealClock() override;
  absl::Time Now() override { return absl::Now(); }
  void RunAt(absl::Time when, std::function<void()> work) override;

 private:
  void Run();

  Mutex mu_;
  CondVar wake_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> timers_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace evoke
