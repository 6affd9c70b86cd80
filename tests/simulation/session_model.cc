#include "tests/simulation/session_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>

namespace evoke::testing {

void SessionModel::Apply(const TurnRecord& record, const Limits& limits) {
  std::set<SessionId> writing;
  for (const SessionOp& op : record.sessions) {
    if (op.kind == SessionOp::Kind::kOutcome) writing.insert(op.session);
  }
  for (const SessionOp& op : record.sessions) {
    Session& session = known[op.session];
    switch (op.kind) {
      case SessionOp::Kind::kOpen:
        EXPECT_EQ(session.last_turn, 0u) << "opened twice";
        session.last_turn = record.turn.value;
        EXPECT_LE(known.size(), limits.sessions);
        break;
      case SessionOp::Kind::kOutcome:
        EXPECT_EQ(op.number, session.last_number + 1);
        session.last_turn = record.turn.value;
        session.last_number = op.number;
        session.replies[op.number] = {op.digest, op.reply.size()};
        break;
      case SessionOp::Kind::kAcknowledge:
        session.replies.erase(session.replies.begin(), session.replies.lower_bound(op.number));
        break;
      case SessionOp::Kind::kForget:
        for (const auto& [id, other] : known) {
          if (writing.count(id) > 0) continue;
          EXPECT_LE(std::pair(session.last_turn, op.session), std::pair(other.last_turn, id))
              << "forgot a session that wrote later than another";
        }
        EXPECT_EQ(writing.count(op.session), 0u) << "forgot a session that writes";
        forgotten_turn = std::max(forgotten_turn, session.last_turn);
        known.erase(op.session);
        break;
    }
  }
  uint64_t bytes = 0;
  bool others = false;  // that could have been forgotten to make room
  for (const auto& [id, session] : known) {
    others |= session.last_turn < record.turn.value;
    for (const auto& [number, reply] : session.replies) bytes += reply.bytes;
  }
  EXPECT_TRUE(bytes <= limits.reply_bytes || !others) << bytes << " bytes of replies are stored";
}

SessionModel::Verdict SessionModel::Of(const MutationId& m, uint64_t turn,
                                       uint32_t max_unacknowledged) const {
  const auto it = known.find(m.session);
  if (it == known.end()) {
    if (m.number > 1 || m.opened_after < forgotten_turn) return {"SESSION_UNKNOWN", 0};
    if (m.opened_after > turn) return {"BAD_ARGUMENT", 0};
    if (m.number != 1) return {"STEP_OUT_OF_ORDER", 0};
    return {};
  }
  const Session& session = it->second;
  if (m.number <= session.last_number) {
    const auto reply = session.replies.find(m.number);
    if (reply == session.replies.end()) return {"STEP_TOO_OLD", session.last_number};
    if (reply->second.digest != m.digest) return {"STEP_REUSED", session.last_number};
    return {};
  }
  if (m.number > session.last_number + 1) return {"STEP_OUT_OF_ORDER", session.last_number};
  const auto kept = std::distance(session.replies.lower_bound(m.first_unacknowledged), session.replies.end());
  if (kept >= max_unacknowledged) return {"UNACKNOWLEDGED_LIMIT", session.last_number};
  return {};
}

std::vector<SessionModel::Verdict> SessionModel::Within(const SessionModel& before, const SessionModel& after,
                                                        const MutationId& m, uint64_t turn,
                                                        uint32_t max_unacknowledged) {
  std::vector<Verdict> verdicts = {before.Of(m, turn - 1, max_unacknowledged),
                                   after.Of(m, turn, max_unacknowledged)};
  const auto last = after.known.find(m.session);
  if (last == after.known.end()) return verdicts;
  // After some of the session's own mutations of the turn; their acknowledgements came before or after.
  const auto first = before.known.find(m.session);
  Session session = first == before.known.end() ? Session{} : first->second;
  while (session.last_number + 1 < last->second.last_number) {
    ++session.last_number;
    const auto reply = last->second.replies.find(session.last_number);
    session.replies[session.last_number] = reply == last->second.replies.end() ? Reply{} : reply->second;
    SessionModel between = after;
    between.known[m.session] = session;
    verdicts.push_back(between.Of(m, turn, max_unacknowledged));
    auto& replies = between.known[m.session].replies;
    while (!replies.empty() && last->second.replies.count(replies.begin()->first) == 0)
      replies.erase(replies.begin());
    verdicts.push_back(between.Of(m, turn, max_unacknowledged));
  }
  return verdicts;
}

}  // namespace evoke::testing
