// A simulated client: sessions, numbers, retries, and a network that loses, delays and repeats what it sends.
//
// It keeps to the contract (same number, same body until it is answered) and also probes it: gaps, other
// bodies under an old number, numbers long acknowledged, unknown sessions. What comes back is judged where it
// leaves the server; here it only decides what is done next, and equal requests must have equal answers.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/simulation/call.h"
#include "tests/simulation/history.h"
#include "tests/simulation/simulated_server.h"
#include "tests/simulation/virtual_world.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {

class Trainer {
 public:
  struct Options {
    uint64_t id = 0;
    RandomLogOptions log;
    size_t window = 1;        // mutations in flight
    bool stream = false;      // they are sent and answered in order, and lost together
    absl::Duration think;     // at most, between two actions
    absl::Duration patience;  // then the same number is sent again
    int read_percent = 30;
    int probe_percent = 5;
    int new_session_percent = 2;
    int clear_percent = 1;
    int lost_percent = 3;      // of requests, and of replies
    int repeated_percent = 5;  // of requests
    bool acknowledges = true;  // else only when it is told that it must
  };
  struct Counts {
    uint64_t mutations = 0;  // acknowledged to this trainer
    uint64_t retries = 0;
    uint64_t reads = 0;
    uint64_t refusals = 0;
  };
  // All must outlive it, and the world must not run after it.
  Trainer(Options options, VirtualWorld* world, SimulatedServer* server, History* history);

  void Begin();
  // Nothing new; what is pending is still brought to an end, over a network that works now.
  void Finish();
  bool idle() const { return finishing_ && pending_.empty(); }
  const Counts& counts() const { return counts_; }
  std::string Pending() const;

 private:
  struct Mutation {
    std::shared_ptr<const MutationBody> body;
    uint64_t attempt = 0;  // of the latest one
  };
  using PendingPtr = std::shared_ptr<Mutation>;
  // As TrainStream has it: the first refusal ends it, and so does a lost message.
  struct Stream {
    std::deque<std::pair<PendingPtr, std::optional<Answer>>> sent;  // not answered; the oldest first
    uint64_t answered = 0;
    absl::Time last;  // arrival of what was sent last
    bool broken = false;
  };
  using StreamPtr = std::shared_ptr<Stream>;

  void Act();
  void OpenSession();
  void NewMutation();
  void Probe();
  void Read();
  std::shared_ptr<MutationBody> MakeBody(uint64_t number);
  void Attempt(const PendingPtr& pending);
  std::shared_ptr<Call> CallOf(const PendingPtr& pending);
  void AttemptOnStream(const PendingPtr& pending);
  void TakeFromStream(const StreamPtr& stream, uint64_t index, Answer answer);
  void Break(const StreamPtr& stream);
  void AttemptLater(const PendingPtr& pending, absl::Duration most);
  void Answered(const PendingPtr& pending, const Answer& answer);
  void Done(const PendingPtr& pending);
  void Remember(const MutationBody& body, const Answer& answer);
  // What a retry or a read may require besides.
  void AddConditions(Call* call);
  void Send(const std::shared_ptr<Call>& call, const SimulatedServer::Reply& reply);
  bool IsPending(const PendingPtr& pending) const;
  RandomBits& bits() { return world_->bits(); }

  const Options options_;
  VirtualWorld* const world_;
  SimulatedServer* const server_;
  History* const history_;
  RandomLog log_;

  SessionId session_;
  uint64_t sessions_opened_ = 0;
  uint64_t bodies_made_ = 0;
  uint64_t opened_after_ = 0;
  uint64_t next_number_ = 1;
  bool must_acknowledge_ = false;
  StreamPtr stream_;                                            // null: none is open
  std::deque<PendingPtr> pending_;                              // ascending number
  std::deque<std::shared_ptr<const MutationBody>> old_bodies_;  // answered; for probes
  // What this trainer knows, and the era it knows it from.
  uint64_t era_ = 0;
  uint64_t seen_turn_ = 0;
  uint64_t seen_epoch_ = 1;
  std::map<Hash128, std::string> answers_;  // by the mutation's digest
  bool finishing_ = false;
  Counts counts_;
};

}  // namespace evoke::testing
