#include "client/load/driver.h"

#include <algorithm>

namespace evoke::load {
namespace {

LaneContext With(LaneContext context, const std::atomic<bool>* abandoned) {
  context.abandoned = abandoned;
  return context;
}

}  // namespace

Driver::Driver(const Options& options, LaneContext context)
    : context_(With(std::move(context), &abandoned_)), max_calls_(options.calls) {
  for (int c = 0; c < options.connections; ++c) recorders_.push_back(std::make_unique<Recorder>());
  // Neighbors in the queue of free lanes are on different connections.
  for (int i = 0; i < options.connections * options.in_flight; ++i) {
    const int connection = i % options.connections;
    lanes_.push_back(
        std::make_unique<Lane>(context_, i, connection, recorders_[static_cast<size_t>(connection)].get()));
    free_.push_back(lanes_.back().get());
  }
}

Driver::~Driver() = default;

void Driver::Start(std::optional<Arrivals> arrivals) {
  {
    absl::MutexLock lock(&mu_);
    arrivals_ = std::move(arrivals);
    running_ = true;
  }
  if (waker_) waker_();
}

void Driver::Stop() {
  absl::MutexLock lock(&mu_);
  running_ = false;
}

void Driver::Abandon() {
  Stop();
  abandoned_.store(true, std::memory_order_relaxed);
  if (waker_) waker_();
}

std::optional<absl::Time> Driver::NextDue(absl::Time now) const {
  if (!running_ || (max_calls_.has_value() && begun_ >= *max_calls_)) return std::nullopt;
  return arrivals_.has_value() ? arrivals_->next() : now;
}

Driver::Work Driver::Claim(Lane* lane, absl::Time due) {
  ++begun_;
  if (!arrivals_.has_value()) return {.lane = lane, .begin = true};
  arrivals_->Advance();
  return {.lane = lane, .begin = true, .due = due};
}

absl::Time Driver::Poll() {
  std::vector<Work> work;
  std::vector<Lane*> given_up;
  absl::Time next = absl::InfiniteFuture();
  {
    absl::MutexLock lock(&mu_);
    const absl::Time now = context_.clock->Now();
    const bool abandoned = abandoned_.load(std::memory_order_relaxed);
    while (!retries_.empty() && (abandoned || retries_.top().at <= now)) {
      Lane* const lane = retries_.top().lane;
      retries_.pop();
      if (abandoned) {
        given_up.push_back(lane);
      } else {
        work.push_back({.lane = lane});
      }
    }
    while (!free_.empty()) {
      const std::optional<absl::Time> due = NextDue(now);
      if (!due.has_value()) break;
      if (*due > now) {
        next = *due;
        break;
      }
      work.push_back(Claim(free_.front(), *due));
      free_.pop_front();
    }
    if (!retries_.empty()) next = std::min(next, retries_.top().at);
  }
  for (Lane* const lane : given_up) {
    lane->GiveUp();
    absl::MutexLock lock(&mu_);
    free_.push_back(lane);
  }
  for (const Work& item : work) Do(item);
  return next;
}

void Driver::Do(const Work& work) {
  if (work.begin) work.lane->Begin(work.due);
  work.lane->Send([this, lane = work.lane](absl::Status status) { OnDone(lane, status); });
}

void Driver::OnDone(Lane* lane, const absl::Status& status) {
  const std::optional<absl::Time> again = lane->OnReply(status);
  std::optional<Work> work;
  {
    // Once the lane is free and the lock released, this object may be idle, and gone: so the waker is called
    // under it.
    absl::MutexLock lock(&mu_);
    const bool poll_knows = !free_.empty();  // when to be called: it had a lane to wait with
    if (again.has_value()) {
      retries_.push({.at = *again, .lane = lane});
      if (waker_) waker_();
    } else {
      // A call that is due by now need not wait for Poll to be called: under load nothing else begins calls.
      const absl::Time now = context_.clock->Now();
      const std::optional<absl::Time> due = NextDue(now);
      if (due.has_value() && *due <= now && !poll_knows) {
        work = Claim(lane, *due);
      } else {
        free_.push_back(lane);
        if (due.has_value() && !poll_knows && waker_) waker_();
      }
    }
  }
  if (work.has_value()) Do(*work);
}

Measurements Driver::Take() {
  Measurements all;
  for (const auto& recorder : recorders_) all.Add(recorder->Take());
  return all;
}

Measurements Driver::Look() const {
  Measurements all;
  for (const auto& recorder : recorders_) recorder->AddTo(&all);
  return all;
}

Driver::State Driver::state() const {
  absl::MutexLock lock(&mu_);
  State state{.in_flight = static_cast<int>(lanes_.size() - free_.size()),
              .begun = begun_,
              .finished = max_calls_.has_value() && begun_ >= *max_calls_};
  if (arrivals_.has_value() && running_ && free_.empty()) {
    state.behind = std::max(absl::ZeroDuration(), context_.clock->Now() - arrivals_->next());
  }
  return state;
}

absl::Status Driver::Replay() {
  for (const auto& lane : lanes_) {
    // Each tries for as long as a call may take; a server that is gone is not waited for once a lane.
    if (absl::Status status = lane->Replay(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace evoke::load
