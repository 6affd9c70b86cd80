#include "evoke/session_pool.h"

#include <algorithm>
#include <utility>

namespace evoke::client {

SessionPool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), session_(other.session_) {}

SessionPool::Lease& SessionPool::Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    Unknown();
    pool_ = std::exchange(other.pool_, nullptr);
    session_ = other.session_;
  }
  return *this;
}

void SessionPool::Lease::Applied() {
  SessionPool* const pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  Session next = session_;
  ++next.number;
  pool->GiveBack(next);
}

void SessionPool::Lease::Refused() {
  SessionPool* const pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  pool->GiveBack(session_);
}

void SessionPool::Lease::Unknown() {
  SessionPool* const pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  absl::MutexLock lock(&pool->mu_);
  pool->parked_.push_back(session_);
  if (pool->parked_.size() > pool->options_.max_parked) pool->parked_.pop_front();
}

void SessionPool::Lease::Forget() {
  pool_ = nullptr;
}

SessionPool::SessionPool(Options options) : options_(std::move(options)) {}

SessionPool::Lease SessionPool::Take(uint64_t turn_seen) {
  {
    absl::MutexLock lock(&mu_);
    if (!idle_.empty()) {
      Session session = idle_.back();
      idle_.pop_back();
      // Its first number was refused: still unopened, so the newer turn is as true and less likely to be too
      // old.
      if (session.number == 1) session.opened_after = std::max(session.opened_after, turn_seen);
      return Lease(this, session);
    }
  }
  return Open(turn_seen);
}

SessionPool::Lease SessionPool::Open(uint64_t turn_seen) {
  return Lease(
      this,
      Session{.id = options_.new_id(), .number = 1, .opened_after = turn_seen, .generation = generation()});
}

std::optional<SessionPool::Lease> SessionPool::Resume(MutationId id) {
  absl::MutexLock lock(&mu_);
  const auto it = std::find_if(parked_.begin(), parked_.end(), [&](const Session& session) {
    return session.id == id.session && session.number == id.number;
  });
  if (it == parked_.end()) return std::nullopt;
  const Session session = *it;
  parked_.erase(it);
  return Lease(this, session);
}

void SessionPool::Retire() {
  absl::MutexLock lock(&mu_);
  ++generation_;
  idle_.clear();
}

uint64_t SessionPool::generation() const {
  absl::MutexLock lock(&mu_);
  return generation_;
}

void SessionPool::GiveBack(const Session& session) {
  absl::MutexLock lock(&mu_);
  if (session.generation == generation_) idle_.push_back(session);
}

size_t SessionPool::idle_count() const {
  absl::MutexLock lock(&mu_);
  return idle_.size();
}

size_t SessionPool::parked_count() const {
  absl::MutexLock lock(&mu_);
  return parked_.size();
}

}  // namespace evoke::client
