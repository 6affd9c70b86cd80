#include "storage/session_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

absl::Status Contradiction(const TurnRecord& record, const SessionOp& op, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("turn ", record.turn.value, ", session ", op.session.ToString(), ": ", what));
}

// Drops the replies with numbers below `number`.
void Drop(SessionRow* row, uint64_t number, std::vector<SessionTable::ReplyChange>* replies) {
  size_t dropped = 0;
  while (dropped < row->replies.size() && row->replies[dropped].number < number) {
    replies->push_back({.session = row->id, .number = row->replies[dropped++].number});
  }
  row->replies.erase(row->replies.begin(), row->replies.begin() + dropped);
}

}  // namespace

absl::Status SessionTable::Stage(const TurnRecord& record, Changes* changes) const {
  for (const SessionOp& op : record.sessions) {
    auto [it, first_touch] = changes->rows.try_emplace(op.session);
    std::optional<SessionRow>& row = it->second;
    if (first_touch) {
      if (const auto known = rows_.find(op.session); known != rows_.end()) row = known->second;
    }
    if (op.kind == SessionOp::Kind::kOpen) {
      if (row) return Contradiction(record, op, "opened, but it is open");
      row = SessionRow{.id = op.session, .last_turn = record.turn};
      continue;
    }
    if (!row) return Contradiction(record, op, "not open");
    switch (op.kind) {
      case SessionOp::Kind::kOutcome:
        if (op.number != row->last_number + 1) {
          return Contradiction(record, op, absl::StrCat("number ", op.number, " after ", row->last_number));
        }
        row->last_turn = record.turn;
        row->last_number = op.number;
        row->replies.push_back({.number = op.number, .digest = op.digest, .reply_bytes = op.reply.size()});
        changes->replies.push_back({.session = op.session, .number = op.number, .bytes = &op.reply});
        break;
      case SessionOp::Kind::kAcknowledge:
        Drop(&*row, op.number, &changes->replies);
        break;
      default:  // kForget
        Drop(&*row, row->last_number + 1, &changes->replies);
        changes->forgotten_turn = std::max(changes->forgotten_turn, row->last_turn);
        row.reset();
    }
  }
  return absl::OkStatus();
}

void SessionTable::Take(Changes changes) {
  for (auto& [id, row] : changes.rows) {
    if (row) {
      rows_[id] = *std::move(row);
    } else {
      rows_.erase(id);
    }
  }
}

}  // namespace evoke
