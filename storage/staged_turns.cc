#include "storage/staged_turns.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

absl::Status CheckFollows(const MetaRow& meta, const TurnRecord& record) {
  const auto refuse = [&](const std::string& what) {
    return absl::FailedPreconditionError(absl::StrCat("turn ", record.turn.value, ": ", what));
  };
  if (record.uid != meta.uid) {
    return refuse(absl::StrCat("of memory ", record.uid.ToString(), ", expected ", meta.uid.ToString()));
  }
  if (record.turn != meta.turn.Next())
    return refuse(absl::StrCat("a gap, the last one is ", meta.turn.value));
  if (record.previous_chain != meta.chain) {
    return refuse(absl::StrCat("continues chain ", record.previous_chain.ToString(), ", expected ",
                               meta.chain.ToString()));
  }
  if (record.step_before != meta.step) {
    return refuse(absl::StrCat("begins at step ", record.step_before.value, ", expected ", meta.step.value));
  }
  if (record.epoch < meta.epoch || record.term < meta.term) return refuse("epoch or term goes backwards");
  return absl::OkStatus();
}

absl::Status CheckShape(const StageLimits& limits, const TurnRecord& record) {
  if (absl::Status s = CheckTurnRecord(record); !s.ok()) return s;
  for (const SlotWrite& write : record.writes) {
    const auto refuse = [&](const std::string& what) {
      return absl::InvalidArgumentError(
          absl::StrCat("turn ", record.turn.value, ", slot ", write.slot.value, ": ", what));
    };
    if (limits.key_dim != 0 && write.key.size() != limits.key_dim) {
      return refuse(absl::StrCat("key has ", write.key.size(), " dimensions, expected ", limits.key_dim));
    }
    for (const PayloadRow& row : write.payloads) {
      if (row.place >= limits.payload_history) {
        return refuse(absl::StrCat("payload place ", row.place, " of ", limits.payload_history));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StagedTurns> StageTurns(const MetaRow& meta, const SessionTable& sessions,
                                       const StageLimits& limits,
                                       absl::Span<const TurnRecord* const> records) {
  StagedTurns staged{.meta = meta};
  for (const TurnRecord* record : records) {
    if (record->turn <= staged.meta.turn) continue;
    if (absl::Status s = CheckFollows(staged.meta, *record); !s.ok()) return s;
    if (absl::Status s = CheckShape(limits, *record); !s.ok()) return s;
    if (absl::Status s = sessions.Stage(*record, &staged.sessions); !s.ok()) return s;
    EncodedTurn encoded = EncodeTurnRecord(*record);
    staged.meta.epoch = record->epoch;
    staged.meta.term = record->term;
    staged.meta.turn = record->turn;
    staged.meta.step = record->step_after;
    staged.meta.chain = encoded.chain;
    staged.meta.state_hash = record->state_hash;
    staged.meta.live_count = record->live_after;
    staged.meta.forgotten_turn = std::max(staged.meta.forgotten_turn, staged.sessions.forgotten_turn);
    staged.records.push_back(record);
    staged.encoded.push_back(std::move(encoded));
  }
  return staged;
}

}  // namespace evoke
