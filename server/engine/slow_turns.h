// The slow-turn log: one warning for a turn that took longer than it should, with where the time went and who was in it.
//
// Of all memories of a process together at most ten lines at once and then one a second; the next line tells how many were
// left out. Thread-safe. Cost: a comparison for a turn that is not slow.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/engine/engine_probe.h"
#include "server/engine/task.h"

namespace evoke {

// A turn that was slow. Its time is from its beginning until it was durable and applied; what its tasks waited for it
// before is phases[kQueue], and no part of it: a mailbox is long because other turns are.
struct SlowTurn {
  std::string memory;
  absl::Duration took;
  const TurnReport& report;
  std::vector<const Task*> tasks;  // all of them
};

class SlowTurns {
 public:
  // Zero: nothing is slow.
  explicit SlowTurns(absl::Duration threshold) { SetThreshold(threshold); }

  void SetThreshold(absl::Duration threshold) {
    threshold_ns_.store(absl::ToInt64Nanoseconds(threshold), std::memory_order_relaxed);  // stands alone
  }
  bool IsSlow(absl::Duration took) const {
    const int64_t threshold = threshold_ns_.load(std::memory_order_relaxed);
    return threshold > 0 && took >= absl::Nanoseconds(threshold);
  }
  // Requires: IsSlow(turn.took). `now` is when the turn ended.
  void Tell(const SlowTurn& turn, absl::Time now);

 private:
  // How many lines were left out since the last one; nullopt: this one is to be left out too.
  std::optional<uint64_t> Admit(absl::Time now);

  std::atomic<int64_t> threshold_ns_{0};
  Mutex mu_;
  double allowance_ ABSL_GUARDED_BY(mu_) = 10;  // lines that may be written at once
  absl::Time granted_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  uint64_t left_out_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace evoke
