// A commit worked out but not made: which records are new, their bytes, and what meta row and sessions
// become.
//
// Both stores check and count in this one way; they differ in where they put the result.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/session_table.h"
#include "storage/slot_store.h"
#include "storage/turn_record.h"

namespace evoke {

struct StagedTurns {
  std::vector<const TurnRecord*> records;  // not applied before; may be empty
  std::vector<EncodedTurn> encoded;        // of each
  MetaRow meta;                            // after the last
  SessionTable::Changes sessions;
};

struct StageLimits {
  uint32_t key_dim = 0;  // 0: not checked
  uint32_t payload_history = 0;
};

// FAILED_PRECONDITION when a record is of another memory, leaves a gap, or does not continue the chain or the
// steps (see SlotStore::Commit); INVALID_ARGUMENT when one contradicts itself, the memory's geometry or the
// sessions.
absl::StatusOr<StagedTurns> StageTurns(const MetaRow& meta, const SessionTable& sessions,
                                       const StageLimits& limits,
                                       absl::Span<const TurnRecord* const> records);

}  // namespace evoke
