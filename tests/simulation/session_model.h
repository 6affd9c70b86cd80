// Exactly once in the fewest words (semantics.md, section 5): the oracle beside ModelMemory, for sessions.
//
// It is fed with the session operations of the turns that were written, and says what a mutation that comes
// then must be told. Shares no code with server/. Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/engine/task.h"
#include "storage/turn_record.h"

namespace evoke::testing {

struct SessionModel {
  struct Limits {
    size_t sessions = 1024;
    uint32_t unacknowledged = 16;
    uint64_t reply_bytes = uint64_t{64} << 20;
  };
  struct Reply {
    Hash128 digest;
    uint64_t bytes = 0;
  };
  struct Session {
    uint64_t last_turn = 0;
    uint64_t last_number = 0;
    std::map<uint64_t, Reply> replies;  // unacknowledged ones, by number
  };
  std::map<SessionId, Session> known;
  uint64_t forgotten_turn = 0;

  // EXPECTs that the operations of a turn are ones that the semantics allow.
  void Apply(const TurnRecord& record, const Limits& limits);

  struct Verdict {
    std::string reason;  // empty: it is applied, or its stored reply is sent
    uint64_t last_number = 0;
    friend bool operator==(const Verdict&, const Verdict&) = default;
  };
  // At `turn`, which this is the state after.
  Verdict Of(const MutationId& mutation, uint64_t turn, uint32_t max_unacknowledged) const;

  // Every verdict that a mutation could meet within the turn from `before` to `after`, both included: a turn
  // admits its mutations one after the other.
  static std::vector<Verdict> Within(const SessionModel& before, const SessionModel& after,
                                     const MutationId& mutation, uint64_t turn, uint32_t max_unacknowledged);
};

}  // namespace evoke::testing
