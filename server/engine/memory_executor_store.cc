// The store of a MemoryExecutor: recovered, reloaded after a failed commit, tried again when the disk is better, replaced.
#include <algorithm>
#include <utility>

#include "server/base/errors.h"
#include "server/engine/memory_executor.h"
#include "storage/store_turn_log.h"

namespace evoke {
namespace {

constexpr absl::Duration kFirstReopen = absl::Seconds(1);
constexpr absl::Duration kLastReopen = absl::Seconds(30);

}  // namespace

// --- recovery ------------------------------------------------------------------------------------------------------

void MemoryExecutor::Recover() { RecoverIf(absl::OkStatus()); }

void MemoryExecutor::RecoverIf(absl::Status writable) {
  absl::Status status = writable.ok() ? OpenAndRecover(/*read_only=*/false) : writable;
  MemoryState state = MemoryState::kServing;
  absl::Status why;
  if (!status.ok() && status.code() != absl::StatusCode::kDataLoss) {
    // A store that cannot be written may still be read.
    why = status;
    status = OpenAndRecover(/*read_only=*/true);
    state = MemoryState::kReadOnly;
  }
  if (!status.ok()) {
    state = MemoryState::kFailed;
    why = status;
  }
  SetState(state, why);
  {
    MutexLock lock(&mu_);
    refresh_wanted_ = true;
    mailbox_.Unpark(figures_.turn);
    if (state == MemoryState::kServing) reopen_after_ = absl::ZeroDuration();
    PumpSoon();
  }
  if (state != MemoryState::kServing && !absl::IsDataLoss(why)) ReopenLater();
  MaybeClosed();
}

absl::Status MemoryExecutor::OpenAndRecover(bool read_only) {
  engine_.reset();
  log_.reset();
  store_.reset();
  absl::StatusOr<std::unique_ptr<SlotStore>> store = std::move(reopened_);
  if (*store == nullptr) store = options_.open_store(read_only);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  {
    MutexLock lock(&mu_);
    meter_ = store_->Meter();
  }
  absl::StatusOr<Recovered> recovered = evoke::Recover({.name = options_.name,
                                                        .spec = options_.spec,
                                                        .engine = options_.engine,
                                                        .store = store_.get(),
                                                        .compute = options_.compute,
                                                        .cores = options_.cores,
                                                        .io = options_.io,
                                                        .progress = &progress_});
  if (!recovered.ok()) {
    store_.reset();
    return recovered.status();
  }
  log_ = std::make_unique<StoreTurnLog>(store_.get(),
                                        [io = options_.io](std::function<void()> work) { io->Post(std::move(work)); });
  engine_ = std::make_unique<Engine>(Engine::Parts{.spec = options_.spec,
                                                   .options = options_.engine,
                                                   .state = std::move(recovered->state),
                                                   .shards = std::move(recovered->shards),
                                                   .sessions = std::move(recovered->sessions),
                                                   .store = store_.get(),
                                                   .log = log_.get(),
                                                   .strand = &strand_,
                                                   .io = options_.io,
                                                   .clock = options_.clock,
                                                   .probe = options_.probe.get()});
  Publish();
  return absl::OkStatus();
}

void MemoryExecutor::Reload(const absl::Status& why) {
  // RocksDB met damage. What recovery reads may be whole all the same; then it would be met again, and again.
  if (absl::IsDataLoss(why)) return StopServing(MemoryState::kFailed, why);
  StopServing(MemoryState::kLoading, why);
  options_.io->Post([self = shared_from_this(), this] {
    // A store that opens on a full disk would fail at its next commit, and be reloaded for nothing.
    RecoverIf(options_.disk ? options_.disk->TryWrite() : absl::OkStatus());
  });
}

void MemoryExecutor::StopServing(MemoryState state, const absl::Status& why) {
  std::vector<Task> refused;
  {
    MutexLock lock(&mu_);
    refused = mailbox_.TakeDue();
    ++life_;  // a Pump that is posted would meet what comes after
    in_flight_.clear();
    drain_ = false;
  }
  SetState(state, why);
  absl::Status refusal;
  {
    MutexLock lock(&mu_);
    pumping_ = false;
    if (!refused.empty()) refusal = Refusal(refused.front());
    PumpSoon();
  }
  for (Task& task : refused) task.Fail(refusal);
  MaybeClosed();
}

// --- another store -------------------------------------------------------------------------------------------------

void MemoryExecutor::ReplaceStore(Replacement replacement) {
  absl::Status refusal;
  {
    MutexLock lock(&mu_);
    refusal = !closed_.ok() ? closed_ : Draining();
    if (closed_.ok() && !mutations_stopped_ && !replacement_) {
      replacement_ = std::move(replacement);
      PumpSoon();
      return;
    }
  }
  replacement.done(refusal);
}

void MemoryExecutor::OnSnapshot(const SnapshotReport& report) {
  if (report.made) {
    MutexLock lock(&mu_);
    figures_.last_snapshot = report.created;
    figures_.last_snapshot_bytes = report.bytes;
  }
  strand_.Post([self = shared_from_this(), this, report] {
    if (options_.probe) options_.probe->OnSnapshot(report);
  });
}

void MemoryExecutor::Replace(Replacement replacement) {
  StopServing(MemoryState::kLoading, absl::UnavailableError("the memory gets another store"));
  options_.io->Post([self = shared_from_this(), this, r = std::move(replacement)] {
    const absl::StatusOr<MetaRow> last = LastMeta();
    engine_.reset();
    log_.reset();
    store_.reset();
    absl::Status status = r.replace(last);
    Recover();
    const MemoryFigures now = figures();
    if (status.ok() && now.state != MemoryState::kServing) status = now.why;
    r.done(status);
  });
}

// A memory that could not be recovered may still have whole meta rows.
absl::StatusOr<MetaRow> MemoryExecutor::LastMeta() {
  if (store_ != nullptr) return store_->ReadMeta();
  const absl::StatusOr<std::unique_ptr<SlotStore>> store = options_.open_store(/*read_only=*/true);
  return store.ok() ? (*store)->ReadMeta() : store.status();
}

// --- the way back to writing ---------------------------------------------------------------------------------------

void MemoryExecutor::ReopenLater() {
  MutexLock lock(&mu_);
  if (!closed_.ok()) return;
  reopen_after_ = std::clamp(reopen_after_ * 2, kFirstReopen, kLastReopen);
  options_.clock->RunAt(options_.clock->Now() + reopen_after_, [weak = weak_from_this(), this] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    MutexLock lock(&mu_);
    if (closed_.ok()) options_.io->Post([self, this] { TryReopen(); });
  });
}

void MemoryExecutor::TryReopen() {
  if (options_.disk && !options_.disk->Probe().ok()) return ReopenLater();
  MutexLock lock(&mu_);
  reopen_wanted_ = closed_.ok() && (state_ == MemoryState::kReadOnly || state_ == MemoryState::kFailed);
  PumpSoon();
}

// No turn is under way and none begins: readers wait in the mailbox, with the engine that they had.
void MemoryExecutor::Reopen() {
  absl::StatusOr<std::unique_ptr<SlotStore>> store = options_.open_store(/*read_only=*/false);
  if (store.ok()) {
    reopened_ = *std::move(store);
    SetState(MemoryState::kLoading, absl::OkStatus());
    return Recover();
  }
  {
    MutexLock lock(&mu_);
    pumping_ = false;
    PumpSoon();
  }
  ReopenLater();
  MaybeClosed();
}

}  // namespace evoke
