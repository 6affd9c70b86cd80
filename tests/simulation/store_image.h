// What a store holds after some turn, as plain values: slots, payloads, sessions, replies, kept records,
// meta.
//
// What a commit means comes from StageTurns, as for every store; this is only where the result is put.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "storage/record_window.h"
#include "storage/session_table.h"
#include "storage/slot_store.h"
#include "storage/staged_turns.h"

namespace evoke::testing {

struct StoreImage {
  struct Geometry {
    uint32_t partitions = 1;
    StageLimits limits;
    RecordWindow::Limits records;  // how many are kept
  };

  // The next turn. What StageTurns refuses is refused, and nothing is changed.
  absl::Status Apply(const Geometry& geometry, const TurnRecord& record);
  void DropRecordsBefore(Turn turn);

  MetaRow meta;
  SessionTable sessions;
  std::map<std::pair<SessionId, uint64_t>, std::string> replies;
  std::map<SlotId, SlotWrite> slots;  // without payloads
  std::map<std::pair<SlotId, uint16_t>, PayloadRow>
      places;                           // what an earlier occupant left stays, as on disk
  std::map<Turn, std::string> records;  // encoded
  RecordWindow window;

 private:
  void ApplySlots(const TurnRecord& record);
};

}  // namespace evoke::testing
