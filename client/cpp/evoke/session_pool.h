// The sessions by which the mutations of one memory are applied exactly once, whatever gets lost on the way.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "evoke/error_details.h"

namespace evoke::client {

// A session numbers its mutations 1, 2, 3, ...; the server applies each number once and answers a repeated
// one from its record. A session has one mutation in flight, so concurrent callers take different ones; there
// are as many as there ever were callers at a time (the server keeps 1,024 a memory and forgets the one least
// recently used).
//
//   SessionPool::Lease lease = pool.Take(turn_seen);    // a session nobody else has, and its next number
//   ... send the mutation under lease.id(), as often as needed, always with the same body ...
//   lease.Applied();                                    // or Refused, Unknown, Forget: exactly one
//
// Rule that everything rests on: a number is given to another body only when it is certain that it was not
// applied. A number whose outcome is not known is parked with its session, out of use, until Resume takes it
// up again; at most Options::max_parked, then the oldest is abandoned (its outcome stays unknown; nothing is
// applied twice).
//
// Thread-safe. Outlives its leases. Does no I/O.
class SessionPool {
 public:
  struct Options {
    size_t max_parked = 64;
    std::function<Id128()> new_id = &Id128::Random;
  };

  class Lease {
   public:
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { Unknown(); }  // a lease that nobody settled must be taken for the worst

    MutationId id() const { return {session_.id, session_.number}; }
    // All lower numbers were answered: at most one is in flight.
    uint64_t first_unacknowledged() const { return session_.number; }
    // A turn of the memory that this client had seen; sent with number 1, the same in every retry.
    uint64_t opened_after() const { return session_.opened_after; }

    // The reply arrived: the session goes on with the next number.
    void Applied();
    // Surely not applied: the session offers the same number again.
    void Refused();
    // May have been applied: parked for Resume.
    void Unknown();
    // The server and the client disagree about this session: it is never used again.
    void Forget();

   private:
    friend class SessionPool;
    struct Session {
      Id128 id;
      uint64_t number = 1;
      uint64_t opened_after = 0;
      uint64_t generation = 0;  // of the pool when it was lent
    };
    Lease(SessionPool* pool, Session session) : pool_(pool), session_(session) {}

    SessionPool* pool_;  // null once settled
    Session session_;
  };

  SessionPool() : SessionPool(Options()) {}
  explicit SessionPool(Options options);

  // An idle session, or a new one opened after `turn_seen`.
  Lease Take(uint64_t turn_seen);

  // Always a new one: when the server has forgotten one session, it may have forgotten the idle ones too.
  Lease Open(uint64_t turn_seen);

  // The parked mutation `id`; nullopt: it is not parked here (another client's, already settled, or
  // abandoned).
  std::optional<Lease> Resume(MutationId id);

  // Gives all sessions up, those that are lent out too: the server is about to forget them. The parked ones
  // stay, for their callers to be told.
  void Retire();
  // How often Retire was called.
  uint64_t generation() const;

  size_t idle_count() const;
  size_t parked_count() const;

 private:
  using Session = Lease::Session;

  // Back among the idle ones, unless it was retired.
  void GiveBack(const Session& session);

  const Options options_;
  mutable absl::Mutex mu_;
  uint64_t generation_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Session> idle_ ABSL_GUARDED_BY(mu_);   // used from the back, so that few sessions stay warm
  std::deque<Session> parked_ ABSL_GUARDED_BY(mu_);  // oldest first
};

}  // namespace evoke::client
