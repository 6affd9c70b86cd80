#include "storage/ram_slot_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "storage/payload_ring.h"
#include "storage/staged_turns.h"

namespace evoke {

RamSlotStore::RamSlotStore(const Options& options)
    : options_(options), meta_{.uid = options.uid, .spec_digest = options.spec_digest} {}

absl::Status RamSlotStore::Commit(absl::Span<const TurnRecord* const> records) {
  const std::lock_guard lock(mu_);
  absl::StatusOr<StagedTurns> staged =
      StageTurns(meta_, sessions_, {.payload_history = options_.payload_history}, records);
  if (!staged.ok()) return staged.status();
  for (const TurnRecord* record : staged->records) ApplySlots(*record);
  for (const SessionTable::ReplyChange& reply : staged->sessions.replies) {
    const std::pair key(reply.session, reply.number);
    if (reply.bytes != nullptr) {
      bytes_ += reply.bytes->size();
      replies_[key] = *reply.bytes;
    } else if (const auto it = replies_.find(key); it != replies_.end()) {
      bytes_ -= it->second.size();
      replies_.erase(it);
    }
  }
  sessions_.Take(std::move(staged->sessions));
  meta_ = staged->meta;
  return absl::OkStatus();
}

void RamSlotStore::ApplySlots(const TurnRecord& record) {
  if (record.admin == AdminOp::kClear) {
    for (const auto& [slot, ring] : rings_) {
      for (const Payload& payload : ring) bytes_ -= payload.bytes.size();
    }
    rings_.clear();
  }
  for (const SlotWrite& write : record.writes) {
    for (const PayloadRow& row : write.payloads) {
      Ring& ring = rings_[write.slot];
      if (ring.size() <= row.place) ring.resize(row.place + 1);
      bytes_ += row.bytes.size() - ring[row.place].bytes.size();
      ring[row.place] = {.step = row.step, .bytes = row.bytes};
    }
  }
  for (const SlotId slot : record.freed) EraseRing(slot);
}

void RamSlotStore::EraseRing(SlotId slot) {
  const auto it = rings_.find(slot);
  if (it == rings_.end()) return;
  for (const Payload& payload : it->second) bytes_ -= payload.bytes.size();
  rings_.erase(it);
}

Turn RamSlotStore::AppliedTurn() const {
  const std::lock_guard lock(mu_);
  return meta_.turn;
}

absl::StatusOr<MetaRow> RamSlotStore::ReadMeta() const {
  const std::lock_guard lock(mu_);
  return meta_;
}

absl::Status RamSlotStore::ScanPartition(Partition,
                                         const std::function<absl::Status(const SlotRow&)>&) const {
  return absl::OkStatus();
}

absl::Status RamSlotStore::ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const {
  std::map<SessionId, SessionRow> rows;
  {
    const std::lock_guard lock(mu_);
    rows = sessions_.rows();
  }
  for (const auto& [id, row] : rows) {
    if (absl::Status s = visit(row); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RamSlotStore::ReadReply(const SessionId& session, uint64_t number) const {
  const std::lock_guard lock(mu_);
  const auto it = replies_.find({session, number});
  if (it == replies_.end()) {
    return absl::NotFoundError(absl::StrCat("reply ", number, " of session ", session.ToString()));
  }
  return it->second;
}

absl::Status RamSlotStore::ReadPayloads(absl::Span<SlotPayloads> slots) const {
  const std::lock_guard lock(mu_);
  for (SlotPayloads& slot : slots) {
    slot.payloads.clear();
    const std::vector<uint16_t> places = ValidPlaces(slot.hits, options_.payload_history);
    const auto it = rings_.find(slot.slot);
    for (const uint16_t place : places) {
      if (it == rings_.end() || place >= it->second.size()) {
        return absl::DataLossError(absl::StrCat("payload of slot ", slot.slot.value, " is missing"));
      }
      if (it->second[place].bytes.empty()) continue;
      slot.payloads.push_back(it->second[place]);
      slot.payloads.back().place = place;
    }
    std::sort(slot.payloads.begin(), slot.payloads.end(),
              [](const Payload& a, const Payload& b) { return a.step < b.step; });
  }
  return absl::OkStatus();
}

absl::Status RamSlotStore::ReadRecords(Turn from,
                                       const std::function<absl::Status(const DecodedTurn&)>&) const {
  if (from == AppliedTurn().Next()) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("a gap: turn ", from.value, " is not kept"));
}

Turn RamSlotStore::FirstKeptTurn() const {
  return AppliedTurn().Next();
}

absl::Status RamSlotStore::TruncateRecordsBefore(Turn) {
  return absl::OkStatus();
}

absl::StatusOr<Turn> RamSlotStore::Checkpoint(const std::string&) {
  return absl::UnimplementedError("an ephemeral memory has no checkpoint");
}

uint64_t RamSlotStore::ApproximateBytes() const {
  const std::lock_guard lock(mu_);
  return bytes_;
}

}  // namespace evoke
