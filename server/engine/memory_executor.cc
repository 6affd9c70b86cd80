#include "server/engine/memory_executor.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "storage/store_turn_log.h"

namespace evoke {
namespace {

absl::Status Loading() {
  return MakeError(absl::StatusCode::kUnavailable, "the memory is recovering from its store",
                   {.reason = "LOADING", .retry_delay = absl::Milliseconds(100)});
}

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, "the server is stopping",
                   {.reason = "DRAINING", .retry_delay = absl::Milliseconds(500)});
}

// A reply at the very deadline would come too late.
constexpr absl::Duration kReplyMargin = absl::Milliseconds(20);
constexpr absl::Duration kRefresh = absl::Seconds(1);
constexpr absl::Duration kFirstReopen = absl::Seconds(1);
constexpr absl::Duration kLastReopen = absl::Seconds(30);

}  // namespace

std::shared_ptr<MemoryExecutor> MemoryExecutor::Create(Options options) {
  return std::shared_ptr<MemoryExecutor>(new MemoryExecutor(std::move(options)));
}

MemoryExecutor::MemoryExecutor(Options options) : options_(std::move(options)), strand_(options_.compute) {
  MutexLock lock(&mu_);
  figures_.name = options_.name;
  figures_.uid = options_.uid;
  figures_.spec = options_.spec;
  figures_.index = options_.engine.index;
}

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
  absl::StatusOr<Recovered> recovered = evoke::Recover({.name = options_.name,
                                                        .spec = options_.spec,
                                                        .engine = options_.engine,
                                                        .store = store_.get(),
                                                        .compute = options_.compute,
                                                        .cores = options_.cores,
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
  std::vector<Task> refused;
  {
    MutexLock lock(&mu_);
    std::move(mailbox_.begin(), mailbox_.end(), std::back_inserter(refused));
    mailbox_.clear();
    mailbox_rows_ = 0;
  }
  if (absl::IsDataLoss(why)) {
    // RocksDB met damage. What recovery reads may be whole all the same; then it would be met again, and again.
    absl::Status refusal;
    SetState(MemoryState::kFailed, why);
    {
      MutexLock lock(&mu_);
      pumping_ = false;
      if (!refused.empty()) refusal = Refusal(refused.front());
    }
    for (Task& task : refused) task.Fail(refusal);
    return MaybeClosed();
  }
  SetState(MemoryState::kLoading, why);
  for (Task& task : refused) task.Fail(Loading());
  options_.io->Post([self = shared_from_this(), this] {
    // A store that opens on a full disk would fail at its next commit, and be reloaded for nothing.
    RecoverIf(options_.disk ? options_.disk->TryWrite() : absl::OkStatus());
  });
}

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

void MemoryExecutor::SetState(MemoryState state, absl::Status why) {
  {
    MutexLock lock(&mu_);
    state_ = state;
    why_ = std::move(why);
    if (state == MemoryState::kLoading) pumping_ = false;
  }
  if (options_.on_state_change) options_.on_state_change();
}

// --- the mailbox ---------------------------------------------------------------------------------------------------

absl::Status MemoryExecutor::Refusal(const Task& task) const {
  if (!closed_.ok()) return closed_;
  const bool mutates = task.mutation() != nullptr;
  switch (state_) {
    case MemoryState::kLoading:
      return Loading();
    case MemoryState::kFailed:
      return MakeError(why_.code() == absl::StatusCode::kDataLoss ? absl::StatusCode::kDataLoss
                                                                  : absl::StatusCode::kUnavailable,
                       absl::StrCat("memory \"", options_.name, "\" could not be recovered: ", why_.message()),
                       {.reason = why_.code() == absl::StatusCode::kDataLoss ? "CORRUPT_MEMORY" : "MEMORY_FAILED"});
    case MemoryState::kReadOnly:
      if (mutates) {
        return MakeError(absl::StatusCode::kFailedPrecondition,
                         absl::StrCat("the disk refuses writes, reads go on: ", why_.message()),
                         {.reason = "READ_ONLY_DISK"});
      }
      break;
    default:
      break;
  }
  if (mutates && mutations_stopped_) return Draining();
  if (mutates && options_.disk) {
    if (absl::Status low = options_.disk->Refusal(); !low.ok()) return low;
  }
  const uint64_t rows = task.mailbox_rows();
  if (mailbox_rows_ > 0 && mailbox_rows_ + rows > options_.engine.mailbox_rows) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat("the mailbox of memory \"", options_.name, "\" holds ", mailbox_rows_, " rows, ", rows,
                                  " more exceed ", options_.engine.mailbox_rows),
                     {.reason = "MAILBOX_FULL", .retry_delay = absl::Milliseconds(50)});
  }
  return absl::OkStatus();
}

void MemoryExecutor::Submit(Task task) {
  task.submitted = options_.clock->Now();
  absl::Status refusal;
  {
    MutexLock lock(&mu_);
    refusal = Refusal(task);
    if (refusal.ok()) {
      mailbox_rows_ += task.mailbox_rows();
      mailbox_.push_back(std::move(task));
      PumpSoon();
      return;
    }
  }
  if (options_.probe) options_.probe->OnRejected(DetailOf(refusal)->reason);
  task.Fail(refusal);
}

void MemoryExecutor::PumpSoon() {
  if (pumping_ || state_ == MemoryState::kLoading) return;
  if (!reopen_wanted_ && (state_ == MemoryState::kFailed || (mailbox_.empty() && !refresh_wanted_))) return;
  pumping_ = true;
  strand_.Post([self = shared_from_this(), this] { Pump(); });
}

std::vector<Task> MemoryExecutor::TakeTurn(std::vector<Refused>* refused) {
  std::vector<Task> turn;
  uint64_t rows = 0;
  uint32_t mutations = 0;
  const absl::Time now = options_.clock->Now();
  while (!mailbox_.empty()) {
    Task& task = mailbox_.front();
    const uint64_t task_rows = task.mailbox_rows();
    const bool clear = std::holds_alternative<ClearCall>(task.call);
    if (!turn.empty() && (clear || rows + task_rows > options_.engine.max_turn_rows ||
                          mutations + 1 >= options_.engine.max_sessions)) {
      break;
    }
    mailbox_rows_ -= task_rows;
    Task taken = std::move(task);
    mailbox_.pop_front();
    if (taken.deadline <= now) {
      refused->push_back({std::move(taken), MakeError(absl::StatusCode::kDeadlineExceeded,
                                                      "the deadline passed before the request entered a turn",
                                                      {.reason = "NOT_APPLIED"})});
    } else if (taken.cancelled && taken.cancelled()) {
      refused->push_back({std::move(taken), absl::CancelledError("the caller has gone")});
    } else if (taken.min_turn > figures_.turn.value) {
      AwaitTurn(std::move(taken));
    } else {
      rows += task_rows;
      mutations += taken.mutation() != nullptr;
      turn.push_back(std::move(taken));
      if (clear) break;
    }
  }
  return turn;
}

void MemoryExecutor::Pump() {
  std::vector<Refused> refused;
  std::vector<Task> turn;
  bool reopen, refresh;
  {
    MutexLock lock(&mu_);
    reopen = std::exchange(reopen_wanted_, false);
    refresh = !reopen && std::exchange(refresh_wanted_, false);
    if (!reopen && !refresh) {
      turn = TakeTurn(&refused);
      if (turn.empty()) pumping_ = false;
    }
  }
  if (reopen) return options_.io->Post([self = shared_from_this(), this] { Reopen(); });
  if (refresh) return RefreshFigures();
  for (Refused& r : refused) r.task.Fail(r.why);
  if (turn.empty()) return MaybeClosed();
  engine_->RunTurn(std::move(turn), [self = shared_from_this(), this](absl::Status status) { TurnDone(status); });
}

void MemoryExecutor::TurnDone(const absl::Status& status) {
  if (!status.ok()) return Reload(status);
  Publish();
  {
    MutexLock lock(&mu_);
    const auto ready = std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Task& t) {
      return t.min_turn > figures_.turn.value;
    });
    for (auto it = ready; it != waiting_.end(); ++it) {
      mailbox_rows_ += it->mailbox_rows();
      mailbox_.push_back(std::move(*it));
    }
    waiting_.erase(ready, waiting_.end());
    pumping_ = false;
    PumpSoon();
    if (!refresh_due_) {
      refresh_due_ = true;
      options_.clock->RunAt(options_.clock->Now() + kRefresh, [weak = weak_from_this(), this] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        MutexLock lock(&mu_);
        refresh_due_ = false;
        refresh_wanted_ = closed_.ok();
        PumpSoon();
      });
    }
  }
  MaybeClosed();
}

// --- waiting for a turn --------------------------------------------------------------------------------------------

void MemoryExecutor::AwaitTurn(Task task) {
  if (task.deadline < absl::InfiniteFuture()) {
    options_.clock->RunAt(task.deadline - kReplyMargin, [weak = weak_from_this(), this] {
      if (const auto self = weak.lock()) ExpireWaiting();
    });
  }
  waiting_.push_back(std::move(task));
}

void MemoryExecutor::ExpireWaiting() {
  std::vector<Task> expired;
  uint64_t turn;
  {
    MutexLock lock(&mu_);
    turn = figures_.turn.value;
    const absl::Time now = options_.clock->Now();
    const auto it = std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Task& t) {
      return closed_.ok() && t.deadline - kReplyMargin > now;
    });
    std::move(it, waiting_.end(), std::back_inserter(expired));
    waiting_.erase(it, waiting_.end());
  }
  for (Task& task : expired) {
    task.Fail(MakeError(absl::StatusCode::kUnavailable,
                        absl::StrCat("the memory is at turn ", turn, ", the request requires ", task.min_turn),
                        {.reason = "BEHIND", .metadata = {{"turn", absl::StrCat(turn)}}}));
  }
}

// --- figures -------------------------------------------------------------------------------------------------------

void MemoryExecutor::Publish() {
  const EngineState& state = engine_->state();
  MutexLock lock(&mu_);
  figures_.epoch = state.name.epoch;
  figures_.turn = state.name.turn;
  figures_.step = state.name.step;
  figures_.state_hash = state.state_hash;
  figures_.live_count = state.live_count;
  figures_.distinct_values = state.distinct_values;
  figures_.sessions = static_cast<uint32_t>(state.sessions);
  figures_.shards = static_cast<uint32_t>(engine_->shard_count());
}

// Between turns, like one: the shards do one thing at a time, and the engine stays while it is under way.
void MemoryExecutor::RefreshFigures() {
  const uint64_t stored_bytes = store_->ApproximateBytes();
  const Turn first_kept = store_->FirstKeptTurn();
  engine_->Figures([self = shared_from_this(), this, stored_bytes, first_kept](
                       absl::StatusOr<std::vector<ShardFigures>> shards) {
    {
      MutexLock lock(&mu_);
      figures_.stored_bytes = stored_bytes;
      figures_.first_kept_turn = first_kept;
      figures_.ram_bytes = figures_.uncertified_rows = 0;
      figures_.sampled_ages.clear();
      for (const ShardFigures& s : shards.ok() ? *shards : std::vector<ShardFigures>()) {
        figures_.ram_bytes += s.memory_bytes;
        figures_.uncertified_rows += s.uncertified_rows;
        for (uint64_t step : s.sampled_steps) figures_.sampled_ages.push_back(figures_.step.value - step);
      }
      std::sort(figures_.sampled_ages.begin(), figures_.sampled_ages.end());
    }
    strand_.Post([self, this] { Pump(); });
  });
}

MemoryFigures MemoryExecutor::figures() const {
  MutexLock lock(&mu_);
  MemoryFigures figures = figures_;
  figures.state = state_;
  figures.why = why_;
  if (state_ == MemoryState::kServing && mutations_stopped_) {
    figures.state = MemoryState::kDraining;
  } else if (state_ == MemoryState::kServing && options_.disk) {
    if (absl::Status low = options_.disk->Refusal(); !low.ok()) {
      figures.state = MemoryState::kReadOnly;
      figures.why = std::move(low);
    }
  }
  figures.mailbox_rows = mailbox_rows_;
  figures.slots_loaded = progress_.slots_loaded.load(std::memory_order_relaxed);
  figures.slots_to_load = progress_.slots_to_load.load(std::memory_order_relaxed);
  return figures;
}

// --- the end -------------------------------------------------------------------------------------------------------

void MemoryExecutor::StopMutations() {
  std::vector<Task> refused;  // what waits for a turn could hold the drain for ever
  {
    MutexLock lock(&mu_);
    mutations_stopped_ = true;
    const auto it = std::stable_partition(waiting_.begin(), waiting_.end(),
                                          [](const Task& t) { return t.mutation() == nullptr; });
    std::move(it, waiting_.end(), std::back_inserter(refused));
    waiting_.erase(it, waiting_.end());
  }
  for (Task& task : refused) task.Fail(Draining());
}

void MemoryExecutor::Close(absl::Status why, std::function<void()> done) {
  {
    MutexLock lock(&mu_);
    closed_ = std::move(why);
    on_closed_ = std::move(done);
  }
  ExpireWaiting();
  MaybeClosed();
}

// When nothing is left to do: gives the store back on a thread that may block, then says so.
void MemoryExecutor::MaybeClosed() {
  std::function<void()> done;
  {
    MutexLock lock(&mu_);
    if (closed_.ok() || !on_closed_ || pumping_ || !mailbox_.empty() || state_ == MemoryState::kLoading) return;
    done = std::exchange(on_closed_, nullptr);
  }
  strand_.Post([self = shared_from_this(), this, done = std::move(done)] {
    auto parts = std::make_shared<std::tuple<std::unique_ptr<SlotStore>, std::unique_ptr<TurnLog>, std::unique_ptr<Engine>>>(
        std::move(store_), std::move(log_), std::move(engine_));
    options_.io->Post([self, parts, done]() mutable {
      std::get<2>(*parts).reset();
      std::get<1>(*parts).reset();
      std::get<0>(*parts).reset();
      done();
    });
  });
}

}  // namespace evoke
