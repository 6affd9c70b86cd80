// A clock that only sleeping moves.
#pragma once

#include "client/load/clock.h"

namespace evoke::load {

// Thread-compatible.
class ManualClock final : public Clock {
 public:
  absl::Time Now() override { return now_; }
  void Sleep(absl::Duration duration) override { now_ += duration; }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'000'000'000);
};

}  // namespace evoke::load
