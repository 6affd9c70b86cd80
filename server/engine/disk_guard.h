// Watches the disk of the data directory, so that writes are refused before it is full and taken again when it is not.
//
// Below a reserve of free bytes, mutations of durable memories and Create get FAILED_PRECONDITION / READ_ONLY_DISK
// before anything is tried; reads, Delete and ephemeral memories go on. What is left is for compactions, for closing
// stores, and for the Delete that frees more. It clears by itself, a little above the reserve, so that it does not
// flap. Looking costs one statvfs a second, on the io scheduler; a request costs a lock.
//
// Threads: thread-safe; `on_change` runs without a lock held. Failure: a disk that cannot be asked counts as before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/thread_pool.h"

namespace evoke {

class DiskGuard : public std::enable_shared_from_this<DiskGuard> {
 public:
  struct Options {
    std::string folder;                         // for messages
    uint64_t reserve_bytes = uint64_t{256} << 20;  // 0: nothing is refused for lack of space
    Clock* clock = nullptr;                     // both must outlive the guard, or its Stop
    Scheduler* io = nullptr;
    std::function<absl::StatusOr<uint64_t>()> free_bytes;  // both may block
    std::function<absl::Status()> try_write;
    std::function<void()> on_change;            // may be empty
  };
  // Looks once, here, and from then on about every second.
  static std::shared_ptr<DiskGuard> Create(Options options);

  // OK, or what a write is refused with, naming both numbers.
  absl::Status Refusal() const;
  // Writes and syncs a small file: whether the disk takes writes at all. Blocks.
  absl::Status TryWrite() const { return options_.try_write(); }
  // As both of them, after a look. Blocks.
  absl::Status Probe();
  // From its return on the guard uses neither clock nor io. Refusal stays what it is.
  void Stop();

 private:
  explicit DiskGuard(Options options) : options_(std::move(options)) {}
  void Look();
  void LookLater();

  const Options options_;
  mutable Mutex mu_;
  uint64_t free_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool low_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace evoke
