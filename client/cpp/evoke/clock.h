// Time as the client library sees it; tests give it another.
#pragma once

#include <functional>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace evoke::client {

// Decides when a call's deadline has passed and waits between attempts. Thread-safe. (The deadline of one
// attempt on the wire is kept by gRPC on the machine's clock.)
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  virtual void Sleep(absl::Duration duration) = 0;
  // Calls `work` once, `duration` from now, on any thread; may do so before it returns. `work` must not
  // block.
  virtual void CallAfter(absl::Duration duration, std::function<void()> work) = 0;
};

// Waits of CallAfter cost no thread: they are gRPC's timers. Holds nothing, so it may go before they end.
class RealClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  void Sleep(absl::Duration duration) override { absl::SleepFor(duration); }
  void CallAfter(absl::Duration duration, std::function<void()> work) override;
};

}  // namespace evoke::client
