// Time as the client library sees it; tests give it another.
#pragma once

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
};

class RealClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  void Sleep(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace evoke::client
