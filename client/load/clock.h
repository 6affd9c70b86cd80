// Time as load is measured in it; tests give it another.
#pragma once

#include "absl/time/time.h"

namespace evoke::load {

// Thread-safe. Steady: it never jumps, as the client library's, which is the wall clock's, may.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  virtual void Sleep(absl::Duration duration) = 0;
};

// The machine's. Its times are those of the wall clock when it was made.
class SteadyClock final : public Clock {
 public:
  SteadyClock();
  absl::Time Now() override;
  void Sleep(absl::Duration duration) override;

 private:
  const absl::Time offset_;
};

}  // namespace evoke::load
