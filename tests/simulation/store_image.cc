#include "tests/simulation/store_image.h"

#include <utility>

namespace evoke::testing {

absl::Status StoreImage::Apply(const Geometry& geometry, const TurnRecord& record) {
  const TurnRecord* records_of_commit[] = {&record};
  absl::StatusOr<StagedTurns> staged = StageTurns(meta, sessions, geometry.limits, records_of_commit);
  if (!staged.ok()) return staged.status();
  if (staged->records.empty()) return absl::OkStatus();
  ApplySlots(record);
  for (const SessionTable::ReplyChange& reply : staged->sessions.replies) {
    const std::pair key(reply.session, reply.number);
    if (reply.bytes != nullptr) {
      replies[key] = *reply.bytes;
    } else {
      replies.erase(key);
    }
  }
  sessions.Take(std::move(staged->sessions));
  meta = staged->meta;
  records[record.turn] = std::move(staged->encoded[0].bytes);
  window.Add(records[record.turn].size(), geometry.records);
  records.erase(records.begin(), records.lower_bound(window.first()));
  return absl::OkStatus();
}

void StoreImage::ApplySlots(const TurnRecord& record) {
  if (record.admin == AdminOp::kClear) {
    slots.clear();
    places.clear();
  }
  for (const SlotWrite& write : record.writes) {
    for (const PayloadRow& row : write.payloads) places[{write.slot, row.place}] = row;
    SlotWrite& slot = slots[write.slot] = write;
    slot.payloads.clear();
  }
  for (const SlotId slot : record.freed) {
    slots.erase(slot);
    places.erase(places.lower_bound({slot, 0}), places.upper_bound({slot, UINT16_MAX}));
  }
}

void StoreImage::DropRecordsBefore(Turn turn) {
  window.CutBefore(turn);
  records.erase(records.begin(), records.lower_bound(window.first()));
}

}  // namespace evoke::testing
