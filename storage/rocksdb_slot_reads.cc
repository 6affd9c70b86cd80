// The reading half of RocksDbSlotStore. Every scan goes over an iterator, which sees one commit's state to
// its end.
#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/utilities/checkpoint.h"
#include "storage/payload_ring.h"
#include "storage/rocksdb_meter.h"
#include "storage/rocksdb_slot_store.h"
#include "storage/rocksdb_status.h"
#include "storage/sealed_row.h"
#include "storage/slot_record.h"

namespace evoke {
namespace {

// Visits key and value of each row in the range, in order. `what` names the range in errors.
absl::Status ScanRange(rocksdb::DB* db, const KeyRange& range, const std::string& what,
                       const std::function<absl::Status(std::string_view, std::string_view)>& visit,
                       const rocksdb::Snapshot* at = nullptr, size_t readahead_bytes = 2 << 20) {
  const rocksdb::Slice end(range.end);
  rocksdb::ReadOptions read;
  read.snapshot = at;
  read.iterate_upper_bound = &end;
  read.fill_cache = false;  // read once, at start
  read.readahead_size = readahead_bytes;
  const std::unique_ptr<rocksdb::Iterator> rows(db->NewIterator(read));
  for (rows->Seek(range.begin); rows->Valid(); rows->Next()) {
    if (absl::Status s = visit(rows->key().ToStringView(), rows->value().ToStringView()); !s.ok()) return s;
  }
  return FromRocksDb(what, rows->status());
}

absl::Status WrongKey(const std::string& what) {
  return absl::DataLossError(absl::StrCat(what, ": a row with a key that none has"));
}

}  // namespace

Turn RocksDbSlotStore::AppliedTurn() const {
  const std::lock_guard lock(mu_);
  return meta_.turn;
}

Turn RocksDbSlotStore::FirstKeptTurn() const {
  const std::lock_guard lock(mu_);
  return window_.first();
}

absl::StatusOr<MetaRow> RocksDbSlotStore::ReadMeta() const {
  const std::lock_guard lock(mu_);
  if (!failed_.ok()) return failed_;
  return meta_;
}

absl::Status RocksDbSlotStore::ScanPartition(Partition partition,
                                             const std::function<absl::Status(const SlotRow&)>& visit) const {
  if (absl::Status s = Health(); !s.ok()) return s;
  return ScanSlots(partition, nullptr, visit);
}

absl::Status RocksDbSlotStore::ScanBlocks(Partition partition, uint64_t first_block, uint64_t blocks,
                                          const std::function<absl::Status(const SlotRow&)>& visit) const {
  if (absl::Status s = Health(); !s.ok()) return s;
  const auto key = [&](uint64_t block) {
    return layout_.Slot(SlotId(block * options_.partitions + partition.value));
  };
  // Reading ahead of so small a range would be reading for nothing.
  return ScanSlotRange(partition, {key(first_block), key(first_block + blocks)}, nullptr, /*readahead_bytes=*/0, visit);
}

absl::Status RocksDbSlotStore::ScanSlots(Partition partition, const rocksdb::Snapshot* at,
                                         const std::function<absl::Status(const SlotRow&)>& visit) const {
  return ScanSlotRange(partition, KeyLayout::Of(RowKind::kSlot, partition), at, /*readahead_bytes=*/2 << 20, visit);
}

absl::Status RocksDbSlotStore::ScanSlotRange(Partition partition, const KeyRange& range, const rocksdb::Snapshot* at,
                                             size_t readahead_bytes,
                                             const std::function<absl::Status(const SlotRow&)>& visit) const {
  return WithoutExceptions([&] {
    std::vector<float> key_buffer;
    SlotId last;
    bool any = false;
    const absl::Status status = ScanRange(db_.get(), range, "slots",
                                          [&](std::string_view key, std::string_view value) -> absl::Status {
                                            const std::optional<SlotId> slot = layout_.ParseSlot(key);
                                            if (!slot) return WrongKey("slots");
                                            last = *slot;
                                            any = true;
                                            absl::StatusOr<SlotRow> row = DecodeSlotRow(
                                                key, *slot, value, options_.key_dim, &key_buffer);
                                            return row.ok() ? visit(*row) : row.status();
                                          },
                                          at, readahead_bytes);
    // A damaged block has no slot: the last one before it says where to look.
    if (!absl::IsDataLoss(status)) return status;
    return absl::DataLossError(absl::StrCat("partition ", partition.value,
                                            any ? absl::StrCat(", at or after slot ", last.value) : "", ": ",
                                            status.message()));
  });
}

absl::Status RocksDbSlotStore::ScanSessions(
    const std::function<absl::Status(const SessionRow&)>& visit) const {
  if (absl::Status s = Health(); !s.ok()) return s;
  return WithoutExceptions([&] {
    return ScanRange(db_.get(), KeyLayout::All(RowKind::kSession), "sessions",
                     [&](std::string_view key, std::string_view value) -> absl::Status {
                       const std::optional<SessionId> id = KeyLayout::ParseSession(key);
                       if (!id) return WrongKey("sessions");
                       absl::StatusOr<SessionRow> row = DecodeSessionRow(key, *id, value);
                       return row.ok() ? visit(*row) : row.status();
                     });
  });
}

absl::StatusOr<std::string> RocksDbSlotStore::ReadReply(const SessionId& session, uint64_t number) const {
  if (absl::Status s = Health(); !s.ok()) return s;
  return WithoutExceptions([&]() -> absl::StatusOr<std::string> {
    const std::string what = absl::StrCat("reply ", number, " of session ", session.ToString());
    const std::string key = KeyLayout::Reply(session, number);
    std::string value;
    if (rocksdb::Status s = db_->Get({}, key, &value); !s.ok()) return FromRocksDb(what, s);
    const auto body = OpenSealedRow(key, value);
    if (!body) return absl::DataLossError(absl::StrCat(what, ": checksum does not hold"));
    value.resize(body->size());
    return value;
  });
}

absl::Status RocksDbSlotStore::ReadPayloads(absl::Span<SlotPayloads> slots) const {
  if (absl::Status s = Health(); !s.ok()) return s;
  return WithoutExceptions([&] { return ReadPayloadRows(slots, nullptr); });
}

absl::Status RocksDbSlotStore::ReadSlotRows(absl::Span<const SlotId> slots, const rocksdb::Snapshot* at,
                                            const std::function<absl::Status(const SlotRow&)>& visit) const {
  std::vector<std::string> keys;
  for (const SlotId slot : slots) keys.push_back(layout_.Slot(slot));
  rocksdb::ReadOptions read;
  read.snapshot = at;
  read.fill_cache = false;
  std::vector<std::string> values;
  const std::vector<rocksdb::Status> got =
      db_->MultiGet(read, std::vector<rocksdb::Slice>(keys.begin(), keys.end()), &values);
  std::vector<float> key_buffer;
  for (size_t i = 0; i < slots.size(); ++i) {
    const std::string what = absl::StrCat("slot ", slots[i].value);
    if (got[i].IsNotFound()) return absl::DataLossError(absl::StrCat(what, " is missing"));
    if (!got[i].ok()) return FromRocksDb(what, got[i]);
    absl::StatusOr<SlotRow> row = DecodeSlotRow(keys[i], slots[i], values[i], options_.key_dim, &key_buffer);
    if (!row.ok()) return row.status();
    if (absl::Status s = visit(*row); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status RocksDbSlotStore::ReadPayloadRows(absl::Span<SlotPayloads> slots, const rocksdb::Snapshot* at) const {
  std::vector<std::string> keys;
  std::vector<SlotPayloads*> owners;
  std::vector<uint16_t> places;
  for (SlotPayloads& slot : slots) {
    slot.payloads.clear();
    for (const uint16_t place : ValidPlaces(slot.hits, options_.payload_history)) {
      keys.push_back(layout_.Payload(slot.slot, place));
      owners.push_back(&slot);
      places.push_back(place);
    }
  }
  // One call, so that all rows are of one state.
  rocksdb::ReadOptions read;
  read.snapshot = at;
  std::vector<std::string> values;
  const std::vector<rocksdb::Status> got =
      db_->MultiGet(read, std::vector<rocksdb::Slice>(keys.begin(), keys.end()), &values);
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::string what = absl::StrCat("payload of slot ", owners[i]->slot.value);
    if (got[i].IsNotFound()) return absl::DataLossError(absl::StrCat(what, " is missing"));
    if (!got[i].ok()) return FromRocksDb(what, got[i]);
    absl::StatusOr<Payload> payload = DecodePayload(keys[i], values[i]);
    if (!payload.ok()) return absl::DataLossError(absl::StrCat(what, ": ", payload.status().message()));
    payload->place = places[i];
    if (!payload->bytes.empty()) owners[i]->payloads.push_back(*std::move(payload));
  }
  for (SlotPayloads& slot : slots) {
    // The order of the places is that of the steps, but for a slot whose hits are saturated.
    std::sort(slot.payloads.begin(), slot.payloads.end(),
              [](const Payload& a, const Payload& b) { return a.step < b.step; });
  }
  return absl::OkStatus();
}

absl::Status RocksDbSlotStore::ReadRecords(
    Turn from, const std::function<absl::Status(const DecodedTurn&)>& visit) const {
  Turn first, last;
  {
    const std::lock_guard lock(mu_);
    if (!failed_.ok()) return failed_;
    first = window_.first();
    last = meta_.turn;
  }
  if (from == last.Next()) return absl::OkStatus();
  if (from < first || from > last) {
    return absl::OutOfRangeError(
        absl::StrCat("a gap: turn ", from.value, " is not kept, only ", first.value, " to ", last.value));
  }
  return WithoutExceptions([&] {
    Turn next = from;
    Hash128 chain;
    // Records can be dropped between the look above and the scan; anything else that is not there is lost.
    const auto missing = [&] {
      const std::string what = absl::StrCat("the record of turn ", next.value, " is not there");
      return next < FirstKeptTurn() ? absl::OutOfRangeError(what) : absl::DataLossError(what);
    };
    const KeyRange range{.begin = KeyLayout::Record(from), .end = KeyLayout::Record(last.Next())};
    const absl::Status status = ScanRange(
        db_.get(), range, "records", [&](std::string_view key, std::string_view value) -> absl::Status {
          const std::optional<Turn> turn = KeyLayout::ParseRecord(key);
          if (!turn) return WrongKey("records");
          if (*turn != next) return missing();
          absl::StatusOr<DecodedTurn> decoded = DecodeTurnRecord(value);
          if (!decoded.ok()) {
            return absl::Status(decoded.status().code(),
                                absl::StrCat("turn ", turn->value, ": ", decoded.status().message()));
          }
          if (decoded->record.turn != *turn || decoded->record.uid != options_.uid ||
              (next != from && decoded->record.previous_chain != chain)) {
            return absl::DataLossError(absl::StrCat("turn ", turn->value, ": another record lies there"));
          }
          next = next.Next();
          chain = decoded->chain;
          return visit(*decoded);
        });
    return status.ok() && next != last.Next() ? missing() : status;
  });
}

absl::StatusOr<Turn> RocksDbSlotStore::Checkpoint(const std::string& dir) {
  if (absl::Status s = Health(); !s.ok()) return s;
  return WithoutExceptions([&]() -> absl::StatusOr<Turn> {
    rocksdb::Checkpoint* made = nullptr;
    if (rocksdb::Status s = rocksdb::Checkpoint::Create(db_.get(), &made); !s.ok())
      return FromRocksDb("checkpoint", s);
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    if (rocksdb::Status s = checkpoint->CreateCheckpoint(dir); !s.ok()) return FromRocksDb("checkpoint", s);
    // Commits go on meanwhile, so the copy itself must say which turn it holds; that it opens is worth
    // knowing too.
    Options options = options_;
    options.path = dir;
    options.create = false;
    options.read_only = true;
    absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> copy = Open(std::move(options));
    if (!copy.ok()) return copy.status();
    return (*copy)->AppliedTurn();
  });
}

std::shared_ptr<const StoreMeter> RocksDbSlotStore::Meter() const {
  return meter_;
}

uint64_t RocksDbSlotStore::ApproximateBytes() const {
  // The files themselves: RocksDB's own figures leave out the log, which is all that a small memory has.
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.path, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;  // compactions remove files meanwhile
    const uint64_t size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace evoke
