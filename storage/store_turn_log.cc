#include "storage/store_turn_log.h"

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace evoke {

struct StoreTurnLog::State : std::enable_shared_from_this<State> {
  struct Entry {
    std::shared_ptr<const TurnRecord> record;
    AppendDone done;
  };

  State(SlotStore* s, Post p) : store(s), post(std::move(p)) {}

  void PostDrain() {
    post([self = shared_from_this()] { self->Drain(); });
  }

  // One commit of all that waits. The next one is posted, not looped: a busy memory must not hold the thread.
  void Drain() {
    std::vector<Entry> taken;
    absl::Status status;
    {
      const std::lock_guard lock(mu);
      taken.swap(queue);
      status = failed;
      committing = !taken.empty() && status.ok();
    }
    if (!taken.empty() && status.ok()) {
      std::vector<const TurnRecord*> records;
      for (const Entry& entry : taken) records.push_back(entry.record.get());
      status = store->Commit(records);
      const std::lock_guard lock(mu);
      if (!status.ok() && failed.ok()) failed = status;
      committing = false;
      idle.notify_all();
    }
    for (Entry& entry : taken) entry.done(status);
    {
      const std::lock_guard lock(mu);
      if (queue.empty()) {
        draining = false;
        return;
      }
    }
    PostDrain();
  }

  SlotStore* const store;
  const Post post;

  std::mutex mu;  // guards all below
  std::condition_variable idle;
  std::vector<Entry> queue;
  bool draining = false;    // a Drain is posted or runs
  bool committing = false;  // it is inside the store
  absl::Status failed;
};

StoreTurnLog::StoreTurnLog(SlotStore* store, Post post)
    : state_(std::make_shared<State>(store, std::move(post))) {}

StoreTurnLog::~StoreTurnLog() {
  std::vector<State::Entry> left;
  {
    std::unique_lock lock(state_->mu);
    left.swap(state_->queue);
    if (state_->failed.ok()) state_->failed = absl::CancelledError("the turn log was closed");
    state_->idle.wait(lock, [&] { return !state_->committing; });
  }
  for (State::Entry& entry : left) entry.done(state_->failed);
}

void StoreTurnLog::Append(std::shared_ptr<const TurnRecord> record, AppendDone done) {
  {
    const std::lock_guard lock(state_->mu);
    // Queued even after a failure, so that no `done` overtakes an earlier one or runs inside Append.
    state_->queue.push_back({std::move(record), std::move(done)});
    if (std::exchange(state_->draining, true)) return;
  }
  state_->PostDrain();
}

}  // namespace evoke
