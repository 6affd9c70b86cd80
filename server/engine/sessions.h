// Exactly once: which mutations of which client were applied (semantics.md, section 5).
//
// RAM keeps numbers and digests; replies are in the store. Admit decides a mutation in arrival order and says what
// the turn record must say of it; Complete adds its reply. Both run ahead of the disk: after a failed commit the
// whole object is thrown away and loaded again.
//
// Threads: the memory's strand only.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/engine/task.h"
#include "storage/slot_store.h"
#include "storage/turn_record.h"

namespace evoke {

class Sessions {
 public:
  struct Options {
    uint32_t max_sessions = 1024;                   // the one whose last turn is lowest is forgotten first
    uint32_t max_unacknowledged = 16;               // replies a session
    uint64_t max_reply_bytes = uint64_t{64} << 20;  // of all stored replies
  };
  explicit Sessions(Options options) : options_(options) {}

  // Recovery.
  void Load(const SessionRow& row);
  void set_forgotten_turn(Turn turn) { forgotten_turn_ = turn; }

  enum class Verdict {
    kApply,   // its number is next
    kStored,  // a retry: the reply is in the store
    kInTurn,  // a retry of a mutation that the turn at hand applies
  };
  // Decides; for kApply, `ops` gets what the record must say before the outcome (forget, open, acknowledge).
  // Errors: STEP_OUT_OF_ORDER, STEP_TOO_OLD, STEP_REUSED, SESSION_UNKNOWN, UNACKNOWLEDGED_LIMIT, each with the last
  // applied number; a refused mutation changes nothing.
  // Requires: fewer than max_sessions mutations are admitted to one turn.
  absl::StatusOr<Verdict> Admit(const MutationId& mutation, Turn turn, std::vector<SessionOp>* ops);

  // Whether its number was applied, or is in the turn at hand: then Admit changes nothing.
  bool Knows(const MutationId& mutation) const {
    const auto it = sessions_.find(mutation.session);
    return it != sessions_.end() && mutation.number <= it->second.last_number;
  }

  // The reply of a mutation that was admitted to this turn.
  void Complete(const MutationId& mutation, std::string reply, std::vector<SessionOp>* ops);
  // After the last Complete of a turn: forgets sessions while stored replies exceed the limit, never those that
  // wrote in `turn`.
  void EndTurn(Turn turn, std::vector<SessionOp>* ops);

  size_t count() const { return sessions_.size(); }
  uint64_t reply_bytes() const { return reply_bytes_; }

 private:
  struct Session {
    Turn last_turn;
    uint64_t last_number = 0;
    std::vector<SessionRow::Reply> replies;  // ascending number
  };
  void Forget(SessionId id, Turn turn, std::vector<SessionOp>* ops);
  absl::StatusOr<Verdict> Retry(const Session& session, const MutationId& mutation) const;

  const Options options_;
  absl::flat_hash_map<SessionId, Session> sessions_;
  std::set<std::pair<Turn, SessionId>> by_last_turn_;
  uint64_t reply_bytes_ = 0;
  Turn forgotten_turn_;  // the last turn of any forgotten session
};

}  // namespace evoke
