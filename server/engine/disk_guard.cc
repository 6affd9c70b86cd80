#include "server/engine/disk_guard.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);

// Freed is what is a sixteenth above the reserve: one flushed write buffer does not turn it round.
uint64_t Hysteresis(uint64_t reserve_bytes) { return reserve_bytes / 16; }

}  // namespace

std::shared_ptr<DiskGuard> DiskGuard::Create(Options options) {
  std::shared_ptr<DiskGuard> guard(new DiskGuard(std::move(options)));
  if (guard->options_.reserve_bytes > 0) {
    guard->Look();
    guard->LookLater();
  }
  return guard;
}

void DiskGuard::Look() {
  const absl::StatusOr<uint64_t> free_bytes = options_.free_bytes();
  if (!free_bytes.ok()) return;
  bool changed;
  {
    MutexLock lock(&mu_);
    free_bytes_ = *free_bytes;
    const uint64_t reserve = options_.reserve_bytes;
    const bool low = free_bytes_ < (low_ ? reserve + Hysteresis(reserve) : reserve);
    changed = std::exchange(low_, low) != low;
  }
  if (changed && options_.on_change) options_.on_change();
}

void DiskGuard::LookLater() {
  options_.clock->RunAt(options_.clock->Now() + kLookEvery, [weak = weak_from_this()] {
    const std::shared_ptr<DiskGuard> guard = weak.lock();
    if (guard == nullptr) return;
    MutexLock lock(&guard->mu_);  // under which Stop decides
    if (guard->stopped_) return;
    guard->options_.io->Post([guard] {
      guard->Look();
      MutexLock lock(&guard->mu_);
      if (!guard->stopped_) guard->LookLater();
    });
  });
}

void DiskGuard::Stop() {
  MutexLock lock(&mu_);
  stopped_ = true;
}

absl::Status DiskGuard::Refusal() const {
  MutexLock lock(&mu_);
  if (!low_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("the disk of ", options_.folder, " has ", free_bytes_, " bytes free, the reserve is ",
                                options_.reserve_bytes, ": writes are refused, reads go on"),
                   {.reason = "READ_ONLY_DISK",
                    .metadata = {{"free_bytes", absl::StrCat(free_bytes_)},
                                 {"reserve_bytes", absl::StrCat(options_.reserve_bytes)}}});
}

absl::Status DiskGuard::Probe() {
  if (options_.reserve_bytes > 0) Look();
  const absl::Status refusal = Refusal();
  return refusal.ok() ? TryWrite() : refusal;
}

}  // namespace evoke
