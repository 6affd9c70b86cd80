// Snapshots by the clock: every durable memory that has changed gets one when its latest is older than `every`.
//
// One memory after the other, so that the disk is asked for one copy at a time. What has not changed since its latest
// snapshot is left alone. Thread-safe. Failure: a snapshot that fails is tried again at the next look.
#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/thread_pool.h"
#include "server/engine/catalog.h"
#include "server/engine/snapshots.h"

namespace evoke {

class SnapshotSchedule : public std::enable_shared_from_this<SnapshotSchedule> {
 public:
  struct Options {
    Catalog* catalog = nullptr;  // these four must outlive it, or Stop
    Snapshots* snapshots = nullptr;
    Clock* clock = nullptr;
    Scheduler* scheduler = nullptr;  // for work that may block
    absl::Duration every;
    // What became of each one; may be null.
    std::function<void(const std::string& memory, const absl::StatusOr<SnapshotManifest>&)> on_made;
  };
  static std::shared_ptr<SnapshotSchedule> Start(Options options);

  // Nothing begins after it; what is under way is given up.
  void Stop();

 private:
  explicit SnapshotSchedule(Options options) : options_(std::move(options)) {}
  void LookLater();
  void Look();
  bool IsDue(const std::shared_ptr<Executor>& memory) const;
  bool stopped() const;

  const Options options_;
  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace evoke
