#include "server/engine/snapshot_schedule.h"

#include <algorithm>
#include <utility>

namespace evoke {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(30);

}  // namespace

std::shared_ptr<SnapshotSchedule> SnapshotSchedule::Start(Options options) {
  std::shared_ptr<SnapshotSchedule> schedule(new SnapshotSchedule(std::move(options)));
  schedule->LookLater();
  return schedule;
}

void SnapshotSchedule::Stop() {
  MutexLock lock(&mu_);
  stopped_ = true;
}

bool SnapshotSchedule::stopped() const {
  MutexLock lock(&mu_);
  return stopped_;
}

void SnapshotSchedule::LookLater() {
  options_.clock->RunAt(options_.clock->Now() + std::min(options_.every, kLookEvery), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    MutexLock lock(&self->mu_);  // after Stop the scheduler may be gone
    if (self->stopped_) return;
    self->options_.scheduler->Post([self] {
      if (self->stopped()) return;
      self->Look();
      self->LookLater();
    });
  });
}

bool SnapshotSchedule::IsDue(const std::shared_ptr<Executor>& memory) const {
  const MemoryFigures figures = memory->figures();
  if (memory->spec().durability == SpecDurability::kMemory || figures.state != MemoryState::kServing) return false;
  const absl::StatusOr<std::vector<SnapshotManifest>> made = options_.snapshots->List({memory});
  if (!made.ok() || made->empty()) return made.ok();
  const SnapshotManifest& latest = made->back();
  if (figures.last_snapshot == absl::InfinitePast()) {  // made before this process
    memory->OnSnapshot({.made = true, .earlier = true, .created = latest.created, .bytes = latest.bytes()});
  }
  const bool changed = latest.epoch != figures.epoch || latest.turn != figures.turn;
  return changed && options_.clock->Now() - latest.created >= options_.every;
}

void SnapshotSchedule::Look() {
  for (const std::shared_ptr<Executor>& memory : options_.catalog->List()) {
    if (stopped()) return;
    if (!IsDue(memory)) continue;
    const auto made = options_.snapshots->Create(
        {memory}, /*scheduled=*/true, [this](const char*, uint64_t, uint64_t) { return !stopped(); });
    if (options_.on_made && !stopped()) options_.on_made(memory->name(), made);
  }
}

}  // namespace evoke
