// What the session operations of turn records do to a memory's sessions; the same for every store.
//
// Stage works out the changes of a record without making them, so that a commit that is refused leaves
// nothing behind; Take makes them. About 1,024 sessions of at most 16 replies are held, without the replies'
// bytes: under 1 MB. Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/ids.h"
#include "storage/slot_store.h"
#include "storage/turn_record.h"

namespace evoke {

class SessionTable {
 public:
  struct ReplyChange {
    SessionId session;
    uint64_t number = 0;
    const std::string* bytes = nullptr;  // in the record; null: the reply is dropped
  };
  struct Changes {
    std::map<SessionId, std::optional<SessionRow>> rows;  // nothing: the session is forgotten
    std::vector<ReplyChange> replies;                     // to be made in this order
    Turn forgotten_turn;  // last turn of any session that is forgotten here, or 0
  };

  void Load(SessionRow row) { rows_[row.id] = std::move(row); }

  // Adds what `record` changes after what `changes` holds already. INVALID_ARGUMENT when the record
  // contradicts the sessions (an outcome of a session that is not open, a number out of order): a bug of who
  // wrote it.
  absl::Status Stage(const TurnRecord& record, Changes* changes) const;

  void Take(Changes changes);

  // Ascending id.
  const std::map<SessionId, SessionRow>& rows() const { return rows_; }

 private:
  std::map<SessionId, SessionRow> rows_;
};

}  // namespace evoke
