#include "server/engine/sessions.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

absl::Status Refused(absl::StatusCode code, std::string_view reason, uint64_t last_number, std::string_view message) {
  return MakeError(code, message,
                   {.reason = std::string(reason), .metadata = {{"last_number", absl::StrCat(last_number)}}});
}

// A reply that is not known yet: its mutation is in the turn at hand.
constexpr uint64_t kInTurnBytes = ~uint64_t{0};

}  // namespace

void Sessions::Load(const SessionRow& row) {
  for (const SessionRow::Reply& reply : row.replies) reply_bytes_ += reply.reply_bytes;
  by_last_turn_.emplace(row.last_turn, row.id);
  sessions_[row.id] = {row.last_turn, row.last_number, row.replies};
}

absl::StatusOr<Sessions::Verdict> Sessions::Retry(const Session& session, const MutationId& m) const {
  const auto reply = std::find_if(session.replies.begin(), session.replies.end(),
                                  [&](const SessionRow::Reply& r) { return r.number == m.number; });
  if (reply == session.replies.end()) {
    return Refused(absl::StatusCode::kFailedPrecondition, "STEP_TOO_OLD", session.last_number,
                   absl::StrCat("number ", m.number, " was applied and its reply acknowledged"));
  }
  if (reply->digest != m.digest) {
    return Refused(absl::StatusCode::kInvalidArgument, "STEP_REUSED", session.last_number,
                   absl::StrCat("number ", m.number, " was applied with another body"));
  }
  return reply->reply_bytes == kInTurnBytes ? Verdict::kInTurn : Verdict::kStored;
}

absl::StatusOr<Sessions::Verdict> Sessions::Admit(const MutationId& m, Turn turn, std::vector<SessionOp>* ops) {
  auto it = sessions_.find(m.session);
  const bool known = it != sessions_.end();
  const uint64_t last = known ? it->second.last_number : 0;
  if (known && m.number <= last) return Retry(it->second, m);
  if (!known && (m.number > 1 || Turn(m.opened_after) < forgotten_turn_)) {
    return Refused(absl::StatusCode::kFailedPrecondition, "SESSION_UNKNOWN", 0,
                   absl::StrCat("session ", m.session.ToString(), " is not known: number ", m.number,
                                ", opened after turn ", m.opened_after, ", sessions up to turn ",
                                forgotten_turn_.value, " were forgotten"));
  }
  if (!known && Turn(m.opened_after) >= turn) {
    return BadArgument("mutation.opened_after",
                       absl::StrCat("mutation.opened_after is ", m.opened_after, ", but the memory is at turn ",
                                    turn.value - 1));
  }
  if (m.number != last + 1) {
    return Refused(absl::StatusCode::kFailedPrecondition, "STEP_OUT_OF_ORDER", last,
                   absl::StrCat("number is ", m.number, ", expected ", last + 1));
  }
  if (known) {
    const auto& replies = it->second.replies;
    const auto kept = std::count_if(replies.begin(), replies.end(), [&](const SessionRow::Reply& r) {
      return r.number >= m.first_unacknowledged;
    });
    if (kept >= options_.max_unacknowledged) {
      return Refused(absl::StatusCode::kResourceExhausted, "UNACKNOWLEDGED_LIMIT", last,
                     absl::StrCat(kept, " replies are unacknowledged, at most ", options_.max_unacknowledged));
    }
  } else {
    while (sessions_.size() >= options_.max_sessions) Forget(by_last_turn_.begin()->second, turn, ops);
    it = sessions_.try_emplace(m.session).first;
    ops->push_back({.kind = SessionOp::Kind::kOpen, .session = m.session});
  }

  Session& session = it->second;
  // A reply that is not even sent cannot have arrived, whatever the client says.
  uint64_t acknowledged = 0;
  while (!session.replies.empty() && session.replies.front().number < m.first_unacknowledged &&
         session.replies.front().reply_bytes != kInTurnBytes) {
    acknowledged = session.replies.front().number;
    reply_bytes_ -= session.replies.front().reply_bytes;
    session.replies.erase(session.replies.begin());
  }
  if (acknowledged > 0) {
    ops->push_back({.kind = SessionOp::Kind::kAcknowledge, .session = m.session, .number = acknowledged + 1});
  }
  by_last_turn_.erase({session.last_turn, m.session});
  session.last_turn = turn;
  by_last_turn_.emplace(turn, m.session);
  session.last_number = m.number;
  session.replies.push_back({m.number, m.digest, kInTurnBytes});
  return Verdict::kApply;
}

void Sessions::Complete(const MutationId& m, std::string reply, std::vector<SessionOp>* ops) {
  for (SessionRow::Reply& r : sessions_.at(m.session).replies) {
    if (r.number == m.number) r.reply_bytes = reply.size();
  }
  reply_bytes_ += reply.size();
  ops->push_back({.kind = SessionOp::Kind::kOutcome,
                  .session = m.session,
                  .number = m.number,
                  .digest = m.digest,
                  .reply = std::move(reply)});
}

void Sessions::EndTurn(Turn turn, std::vector<SessionOp>* ops) {
  while (reply_bytes_ > options_.max_reply_bytes && by_last_turn_.begin()->first < turn) {
    Forget(by_last_turn_.begin()->second, turn, ops);
  }
}

// `id` by value: callers take it from by_last_turn_, whose entry goes here.
void Sessions::Forget(SessionId id, Turn turn, std::vector<SessionOp>* ops) {
  const auto it = sessions_.find(id);
  EVOKE_CHECK(it != sessions_.end() && it->second.last_turn < turn);
  for (const SessionRow::Reply& r : it->second.replies) reply_bytes_ -= r.reply_bytes;
  forgotten_turn_ = std::max(forgotten_turn_, it->second.last_turn);
  by_last_turn_.erase({it->second.last_turn, id});
  sessions_.erase(it);
  ops->push_back({.kind = SessionOp::Kind::kForget, .session = id});
}

}  // namespace evoke
