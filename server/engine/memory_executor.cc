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

absl::Status Gone() { return absl::CancelledError("the caller has gone"); }

absl::Status Behind(uint64_t min_turn, uint64_t turn) {
  return MakeError(absl::StatusCode::kUnavailable,
                   absl::StrCat("the memory is at turn ", turn, ", the request requires ", min_turn),
                   {.reason = "BEHIND", .metadata = {{"turn", absl::StrCat(turn)}}});
}

// A reply at the very deadline would come too late.
constexpr absl::Duration kReplyMargin = absl::Milliseconds(20);
constexpr absl::Duration kRefresh = absl::Seconds(1);

// A moving average over about the last four.
void Follow(absl::Duration latest, absl::Duration* average) { *average += (latest - *average) / 4; }

}  // namespace

std::shared_ptr<MemoryExecutor> MemoryExecutor::Create(Options options) {
  std::shared_ptr<MemoryExecutor> executor(new MemoryExecutor(std::move(options)));
  if (executor->options_.engine.audit_slots_per_second > 0) executor->GrantAuditEverySecond();
  return executor;
}

MemoryExecutor::MemoryExecutor(Options options)
    : options_(std::move(options)),
      strand_(options_.compute),
      mailbox_({.rows = options_.engine.mailbox_rows,
                .bytes = options_.engine.mailbox_bytes,
                .turn_rows = options_.engine.max_turn_rows,
                .turn_mutations = options_.engine.max_sessions - 1}),
      audit_({.memory = options_.name,
              .capacity = options_.spec.capacity,
              .partitions = options_.spec.partitions,
              .slots_per_second = options_.engine.audit_slots_per_second}) {
  MutexLock lock(&mu_);
  figures_.name = options_.name;
  figures_.uid = options_.uid;
  figures_.spec = options_.spec;
  figures_.index = options_.engine.index;
}

absl::Status MemoryExecutor::Draining() {
  return MakeError(absl::StatusCode::kUnavailable, "the server is stopping",
                   {.reason = "DRAINING", .retry_delay = absl::Milliseconds(500)});
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
  return mailbox_.Refusal(options_.name, task);
}

void MemoryExecutor::Submit(Task task) {
  task.submitted = options_.clock->Now();
  absl::Status refusal;
  {
    MutexLock lock(&mu_);
    refusal = Refusal(task);
    if (refusal.ok()) {
      mailbox_.Push(std::move(task));
      PumpSoon();
      return;
    }
  }
  if (options_.probe) options_.probe->OnRejected(DetailOf(refusal)->reason);
  task.Fail(refusal);
}

void MemoryExecutor::PumpSoon() {
  if (pumping_ || state_ == MemoryState::kLoading) return;
  const bool serves = state_ != MemoryState::kFailed;
  const bool alone = drain_ || replacement_ || reopen_wanted_ || (serves && (refresh_wanted_ || audit_granted_));
  const bool turn = serves && mailbox_.due() && MayBegin();
  if (alone ? !in_flight_.empty() : !turn) return;
  pumping_ = true;
  strand_.Post([self = shared_from_this(), this, life = life_] { Pump(life); });
}

bool MemoryExecutor::MayBegin() const {
  if (in_flight_.empty()) return true;
  if (in_flight_.size() >= options_.engine.turns_in_flight) return false;
  uint64_t rows = mailbox_.rows();
  for (const Turning& turn : in_flight_) rows += turn.rows;
  return options_.always_overlap || pace_.row * rows >= pace_.commit;
}

std::vector<Task> MemoryExecutor::TakeTurn(std::vector<Refused>* refused) {
  const auto gone = [](const Task& t) { return t.cancelled && t.cancelled(); };
  for (Task& task : mailbox_.TakeParked(gone)) refused->push_back({std::move(task), Gone()});
  const absl::Time now = options_.clock->Now();
  return mailbox_.TakeTurn([&](Task& task) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (task.deadline <= now) {
      refused->push_back({std::move(task), MakeError(absl::StatusCode::kDeadlineExceeded,
                                                     "the deadline passed before the request entered a turn",
                                                     {.reason = "NOT_APPLIED"})});
    } else if (gone(task)) {
      refused->push_back({std::move(task), Gone()});
    } else if (task.min_turn > figures_.turn.value) {
      // What would wait now is not seen by the Close, or the end of mutations, that has just been.
      const bool draining = mutations_stopped_ && task.mutation() != nullptr;
      if (closed_.ok() && !draining) {
        AwaitTurn(std::move(task));
      } else {
        const absl::Status why = draining ? Draining() : Behind(task.min_turn, figures_.turn.value);
        refused->push_back({std::move(task), why});
      }
    } else {
      return true;
    }
    return false;
  });
}

// A turn, or what runs when none is in flight: it sees shards and store at the same turn, and no commit under way.
MemoryExecutor::Work MemoryExecutor::TakeWork() {
  Work work;
  if (std::exchange(audit_granted_, false)) audit_.Grant(options_.clock->Now());
  const bool audit_due = audit_.due() && closed_.ok() && state_ != MemoryState::kFailed;
  bool alone = replacement_ || reopen_wanted_ || refresh_wanted_ || (audit_due && !audit_was_last_);
  if (!alone) {
    if (MayBegin()) work.turn = TakeTurn(&work.refused);
    alone = audit_due && work.turn.empty();
  }
  drain_ = alone && !in_flight_.empty();
  if (drain_) return work;
  if (alone) {
    work.replacement = std::exchange(replacement_, std::nullopt);
    if (!work.replacement) work.reopen = std::exchange(reopen_wanted_, false);
    if (!work.replacement && !work.reopen) work.refresh = std::exchange(refresh_wanted_, false);
    work.audit = !work.replacement && !work.reopen && !work.refresh;
  }
  audit_was_last_ = work.audit;
  if (work.turn.empty()) return work;
  Turning& turn = in_flight_.emplace_back();
  turn.began = options_.clock->Now();
  for (const Task& task : work.turn) {
    turn.rows += task.mailbox_rows();
    turn.writes |= task.mutation() != nullptr;
  }
  return work;
}

void MemoryExecutor::Pump(uint64_t life) {
  Work work;
  {
    MutexLock lock(&mu_);
    if (life != life_) return;
    work = TakeWork();
    pumping_ = work.replacement || work.reopen || work.refresh || work.audit || !work.turn.empty();
  }
  if (work.replacement) return Replace(*std::move(work.replacement));
  if (work.reopen) return options_.io->Post([self = shared_from_this(), this] { Reopen(); });
  if (work.refresh) return RefreshFigures();
  for (Refused& r : work.refused) r.task.Fail(r.why);
  if (work.audit) return Audit();
  if (work.turn.empty()) return MaybeClosed();
  engine_->RunTurn(std::move(work.turn), [this] { MayGoOn(); },
                   [self = shared_from_this(), this](absl::Status status) { TurnDone(status); });
}

// After what ran alone: there may be more of it.
void MemoryExecutor::PumpAgain() {
  MutexLock lock(&mu_);
  strand_.Post([self = shared_from_this(), this, life = life_] { Pump(life); });
}

void MemoryExecutor::MayGoOn() {
  MutexLock lock(&mu_);
  Turning& turn = in_flight_.back();
  turn.went_on = options_.clock->Now();
  Follow((turn.went_on - turn.began) / static_cast<int64_t>(turn.rows), &pace_.row);
  pumping_ = false;
  PumpSoon();
}

void MemoryExecutor::TurnDone(const absl::Status& status) {
  if (!status.ok()) return Reload(status);
  Publish();
  {
    MutexLock lock(&mu_);
    mailbox_.Unpark(figures_.turn);
    if (in_flight_.front().writes) Follow(options_.clock->Now() - in_flight_.front().went_on, &pace_.commit);
    in_flight_.pop_front();
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
  mailbox_.Park(std::move(task));
}

void MemoryExecutor::ExpireWaiting() {
  std::vector<Task> expired;
  uint64_t turn;
  {
    MutexLock lock(&mu_);
    turn = figures_.turn.value;
    const absl::Time now = options_.clock->Now();
    const bool all = !closed_.ok();
    expired = mailbox_.TakeParked([&](const Task& t) { return all || t.deadline - kReplyMargin <= now; });
  }
  for (Task& task : expired) task.Fail(Behind(task.min_turn, turn));
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
    bool changed;
    {
      MutexLock lock(&mu_);
      const std::string degraded = std::exchange(figures_.degraded, "");
      figures_.device_bytes.clear();
      figures_.stored_bytes = stored_bytes;
      figures_.first_kept_turn = first_kept;
      figures_.ram_bytes = figures_.uncertified_rows = figures_.recall_found = figures_.recall_missed = 0;
      figures_.sampled_ages.clear();
      figures_.shard_loads.clear();
      for (const ShardFigures& s : shards.ok() ? *shards : std::vector<ShardFigures>()) {
        figures_.ram_bytes += s.memory_bytes;
        figures_.uncertified_rows += s.uncertified_rows;
        figures_.recall_found += s.recall_found;
        figures_.recall_missed += s.recall_missed;
        figures_.shard_loads.push_back({s.live_count, s.searched_rows, s.written_slots});
        if (s.device >= 0) figures_.device_bytes[s.device] += s.device_bytes;
        if (figures_.degraded.empty()) figures_.degraded = s.degraded;
        for (uint64_t step : s.sampled_steps) figures_.sampled_ages.push_back(figures_.step.value - step);
      }
      std::sort(figures_.sampled_ages.begin(), figures_.sampled_ages.end());
      changed = figures_.degraded != degraded;
    }
    if (changed && options_.on_state_change) options_.on_state_change();
    PumpAgain();
  });
}

// --- audit ---------------------------------------------------------------------------------------------------------

void MemoryExecutor::GrantAuditEverySecond() {
  options_.clock->RunAt(options_.clock->Now() + absl::Seconds(1), [weak = weak_from_this(), this] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock lock(&mu_);
      if (!closed_.ok()) return;
      audit_granted_ = true;
      PumpSoon();
    }
    GrantAuditEverySecond();
  });
}

// Between turns, like a refresh: table and store are at the same turn.
void MemoryExecutor::Audit() {
  const bool stored = options_.spec.durability != SpecDurability::kMemory;
  audit_.RunSlice({.store = stored ? store_.get() : nullptr,
                   .io = options_.io,
                   .strand = &strand_,
                   .ask = [this](AuditRequest request, Shard::Done<AuditAnswer> done) {
                     engine_->Audit(std::move(request), std::move(done));
                   }},
                  [self = shared_from_this(), this] {
                    bool changed;
                    {
                      MutexLock lock(&mu_);
                      changed = figures_.audit.corrupt != audit_.figures().corrupt;
                      figures_.audit = audit_.figures();
                    }
                    if (changed && options_.on_state_change) options_.on_state_change();
                    PumpAgain();
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
  figures.mailbox_rows = mailbox_.rows();
  figures.mailbox_bytes = mailbox_.bytes();
  figures.slots_loaded = progress_.slots_loaded.load(std::memory_order_relaxed);
  figures.slots_to_load = progress_.slots_to_load.load(std::memory_order_relaxed);
  return figures;
}

StoreFigures MemoryExecutor::store_figures() const {
  std::shared_ptr<const StoreMeter> meter;
  {
    MutexLock lock(&mu_);
    meter = meter_;
  }
  return meter != nullptr ? meter->Read() : StoreFigures();
}

// --- the end -------------------------------------------------------------------------------------------------------

void MemoryExecutor::StopMutations() {
  std::vector<Task> refused;  // what waits for a turn could hold the drain for ever
  {
    MutexLock lock(&mu_);
    mutations_stopped_ = true;
    refused = mailbox_.TakeParked([](const Task& t) { return t.mutation() != nullptr; });
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
    if (closed_.ok() || !on_closed_ || pumping_ || !in_flight_.empty() || replacement_ || mailbox_.due() ||
        state_ == MemoryState::kLoading) {
      return;
    }
    done = std::exchange(on_closed_, nullptr);
    pumping_ = true;  // for good: whatever is wanted from here on would find no store
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
