// Opening and changing a store. Reading: rocksdb_slot_reads.cc.
#include "storage/rocksdb_slot_store.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/perf_level.h"
#include "rocksdb/write_batch.h"
#include "storage/file_util.h"
#include "storage/rocksdb_logger.h"
#include "storage/rocksdb_meter.h"
#include "storage/rocksdb_options.h"
#include "storage/rocksdb_reader.h"
#include "storage/rocksdb_status.h"
#include "storage/sealed_row.h"
#include "storage/slot_record.h"
#include "storage/staged_turns.h"
#include "storage/rocksdb_whole_log.h"

namespace evoke {
namespace {

absl::Status CheckOptions(const RocksDbSlotStore::Options& options) {
  if (options.key_dim == 0 || options.partitions == 0 || options.path.empty()) {
    return absl::InvalidArgumentError("a store needs a path, a key_dim and partitions");
  }
  if (options.durability != Durability::kWal && options.durability != Durability::kFsync) {
    return absl::InvalidArgumentError("a store on disk is WAL or FSYNC");
  }
  if (options.create && options.read_only)
    return absl::InvalidArgumentError("create and read_only exclude each other");
  return absl::OkStatus();
}

RocksDbSlotStore::Options WithResources(RocksDbSlotStore::Options options) {
  if (options.shared == nullptr) options.shared = RocksDbResources::Create({});
  return options;
}

}  // namespace

// --- opening
// -------------------------------------------------------------------------------------------------------

RocksDbSlotStore::RocksDbSlotStore(Options options)
    : options_(std::move(options)),
      layout_(options_.partitions),
      meter_(std::make_shared<RocksDbMeter>()),
      readers_(std::make_shared<Readers>()) {
  readers_->store = this;
}

RocksDbSlotStore::~RocksDbSlotStore() {
  meter_->Detach();
  const std::lock_guard open(readers_->open);  // waits for calls under way
  for (const rocksdb::Snapshot* at : readers_->snapshots) db_->ReleaseSnapshot(at);
  readers_->store = nullptr;
}

absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> RocksDbSlotStore::Open(Options options) {
  if (absl::Status s = CheckOptions(options); !s.ok()) return s;
  return WithoutExceptions([&]() -> absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> {
    std::unique_ptr<RocksDbSlotStore> store(new RocksDbSlotStore(WithResources(std::move(options))));
    if (absl::Status s = store->OpenDatabase(); !s.ok()) return s;
    if (absl::Status s = store->LoadState(); !s.ok()) return s;
    return store;
  });
}

absl::Status RocksDbSlotStore::OpenDatabase() {
  std::error_code ignored;
  if (!options_.create && !std::filesystem::exists(options_.path + "/CURRENT", ignored)) {
    return absl::NotFoundError(absl::StrCat("no store in ", options_.path));
  }
  rocksdb::Options db_options = DatabaseOptions(*options_.shared);
  db_options.create_if_missing = options_.create;
  db_options.info_log = MakeRocksDbLogger(options_.read_only ? "" : options_.path);
  std::string link = LogLink("");
  if (std::filesystem::exists(options_.path + "/CURRENT", ignored)) {
    absl::StatusOr<std::string> of_tables = LinkOfTables(db_options, options_.path);
    if (!of_tables.ok()) return of_tables.status();
    link = *std::move(of_tables);
  }
  db_options.listeners.push_back(meter_);
  WholeLog whole_log(std::move(link));
  db_options.wal_filter = &whole_log;  // asked while the database is opened
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = options_.read_only
                                     ? rocksdb::DB::OpenForReadOnly(db_options, options_.path, &db)
                                     : rocksdb::DB::Open(db_options, options_.path, &db);
  db_.reset(db);
  meter_->Attach(db);
  if (!opened.ok()) return FromRocksDb(absl::StrCat("open ", options_.path), opened);
  if (whole_log.stopped()) {
    rocksdb::Warn(db_options.info_log, "The log has a hole, as power loss may leave one: what follows it was never synced, and is dropped");
  }

  std::string found;
  const rocksdb::Status got = db_->Get({}, KeyLayout::Format(), &found);
  if (got.IsNotFound() && options_.create) return Initialize();
  if (got.IsNotFound()) return absl::DataLossError(absl::StrCat(options_.path, ": no format row"));
  return FromRocksDb("format row", got);
}

// Also finishes what a crash left between making the database and its first two rows.
absl::Status RocksDbSlotStore::Initialize() {
  const std::string format_key = KeyLayout::Format();
  const std::string meta_key = KeyLayout::Meta();
  const FormatRow format{.key_dim = options_.key_dim,
                         .partitions = options_.partitions,
                         .payload_history = options_.payload_history};
  const MetaRow meta{.uid = options_.uid, .spec_digest = options_.spec_digest};
  rocksdb::WriteBatch batch;
  batch.PutLogData(LogLink(""));
  batch.Put(format_key, EncodeFormatRow(format_key, format));
  batch.Put(meta_key, EncodeMetaRow(meta_key, meta, RecordWindow()));
  rocksdb::WriteOptions durable;
  durable.sync = true;
  if (rocksdb::Status s = db_->Write(durable, &batch); !s.ok()) return FromRocksDb("first write", s);
  // RocksDB syncs its folder, but not the entry of the folder itself.
  const std::string parent = std::filesystem::path(options_.path).parent_path().string();
  return SyncDirectory(parent.empty() ? "." : parent);
}

absl::Status RocksDbSlotStore::LoadState() {
  std::string value;
  if (rocksdb::Status s = db_->Get({}, KeyLayout::Format(), &value); !s.ok())
    return FromRocksDb("format row", s);
  const absl::StatusOr<FormatRow> format = DecodeFormatRow(KeyLayout::Format(), value);
  if (!format.ok()) return format.status();
  if (*format != FormatRow{options_.key_dim, options_.partitions, options_.payload_history}) {
    return absl::DataLossError(absl::StrCat(options_.path, " has key_dim ", format->key_dim, ", ",
                                            format->partitions, " partitions, payload_history ",
                                            format->payload_history, "; expected ", options_.key_dim, ", ",
                                            options_.partitions, ", ", options_.payload_history));
  }
  const rocksdb::Status got = db_->Get({}, KeyLayout::Meta(), &value);
  if (got.IsNotFound()) return absl::DataLossError(absl::StrCat(options_.path, ": no meta row"));
  if (!got.ok()) return FromRocksDb("meta row", got);
  absl::StatusOr<StoredMeta> stored = DecodeMetaRow(KeyLayout::Meta(), value);
  if (!stored.ok()) return stored.status();
  if (stored->meta.uid != options_.uid || stored->meta.spec_digest != options_.spec_digest) {
    return absl::DataLossError(absl::StrCat(options_.path, " holds memory ", stored->meta.uid.ToString(),
                                            " with spec ", stored->meta.spec_digest.ToString(), ", expected ",
                                            options_.uid.ToString(), " with ",
                                            options_.spec_digest.ToString()));
  }
  meta_ = stored->meta;
  window_ = std::move(stored->window);
  link_ = LogLink(value);
  return ScanSessions([this](const SessionRow& row) {
    sessions_.Load(row);
    return absl::OkStatus();
  });
}

absl::StatusOr<RocksDbSlotStore::Options> RocksDbSlotStore::Describe(const std::string& path) {
  return WithoutExceptions([&]() -> absl::StatusOr<Options> {
    Options options{.path = path, .read_only = true};
    options = WithResources(std::move(options));
    RocksDbSlotStore store(options);
    if (absl::Status s = store.OpenDatabase(); !s.ok()) return s;
    std::string value;
    if (rocksdb::Status s = store.db_->Get({}, KeyLayout::Format(), &value); !s.ok())
      return FromRocksDb("format row", s);
    const absl::StatusOr<FormatRow> format = DecodeFormatRow(KeyLayout::Format(), value);
    if (!format.ok()) return format.status();
    if (rocksdb::Status s = store.db_->Get({}, KeyLayout::Meta(), &value); !s.ok())
      return FromRocksDb("meta row", s);
    const absl::StatusOr<StoredMeta> stored = DecodeMetaRow(KeyLayout::Meta(), value);
    if (!stored.ok()) return stored.status();
    options.uid = stored->meta.uid;
    options.spec_digest = stored->meta.spec_digest;
    options.key_dim = format->key_dim;
    options.partitions = format->partitions;
    options.payload_history = format->payload_history;
    return options;
  });
}

absl::Status RocksDbSlotStore::Destroy(const std::string& path) {
  return WithoutExceptions([&] {
    return FromRocksDb(absl::StrCat("destroy ", path), rocksdb::DestroyDB(path, rocksdb::Options()));
  });
}

// --- changing
// ------------------------------------------------------------------------------------------------------

absl::Status RocksDbSlotStore::Commit(absl::Span<const TurnRecord* const> records) {
  const std::lock_guard lock(commit_mu_);
  if (absl::Status s = Health(); !s.ok()) return s;
  if (options_.read_only) return absl::FailedPreconditionError("the store was opened read-only");
  const absl::Status status = WithoutExceptions([&] { return CommitStaged(records); });
  // Refused before anything was written, or else unknown: an exception, too, may come from half a write.
  const bool refused = absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
  return status.ok() || refused ? status : Fail(status);
}

absl::Status RocksDbSlotStore::CommitStaged(absl::Span<const TurnRecord* const> records) {
  const StageLimits limits{.key_dim = options_.key_dim, .payload_history = options_.payload_history};
  absl::StatusOr<StagedTurns> staged =
      StageTurns(meta_, sessions_, limits, records);  // reads race with no one
  if (!staged.ok()) return staged.status();
  if (staged->records.empty()) return absl::OkStatus();

  RecordWindow window = window_;
  for (const EncodedTurn& turn : staged->encoded) {
    window.Add(turn.bytes.size(),
               {.count = options_.keep_records_count, .bytes = options_.keep_records_bytes});
  }
  // Its keys are in its records, and about as many bytes of replies.
  size_t expected_bytes = 4096;
  for (const EncodedTurn& turn : staged->encoded) expected_bytes += 2 * turn.bytes.size() + turn.bytes.size() / 8;
  rocksdb::WriteBatch batch(expected_bytes);
  batch.PutLogData(link_);
  for (size_t i = 0; i < staged->records.size(); ++i) {
    const TurnRecord& record = *staged->records[i];
    PutSlots(record, &batch);
    if (record.turn >= window.first()) batch.Put(KeyLayout::Record(record.turn), staged->encoded[i].bytes);
  }
  // Row by row: a range tombstone would have to be looked at by every later read, and a chunk is a few
  // hundred rows.
  for (Turn t = window_.first(); t < std::min(window.first(), window_.next()); t = t.Next()) {
    batch.Delete(KeyLayout::Record(t));
  }
  for (const auto& [id, row] : staged->sessions.rows) {
    const std::string key = KeyLayout::Session(id);
    if (row) {
      batch.Put(key, EncodeSessionRow(key, *row));
    } else {
      batch.Delete(key);
    }
  }
  for (const SessionTable::ReplyChange& reply : staged->sessions.replies) {
    const std::string key = KeyLayout::Reply(reply.session, reply.number);
    if (reply.bytes != nullptr) {
      std::string value = *reply.bytes;
      SealRow(key, &value);
      batch.Put(key, value);
    } else {
      batch.Delete(key);
    }
  }
  const std::string meta_key = KeyLayout::Meta();
  const std::string meta_row = EncodeMetaRow(meta_key, staged->meta, window);
  batch.Put(meta_key, meta_row);

  // Counting comparisons, each by way of a thread-local, would be a twentieth of the commit.
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
  rocksdb::WriteOptions write;
  write.sync = options_.durability == Durability::kFsync;
  if (rocksdb::Status s = db_->Write(write, &batch); !s.ok()) {
    return FromRocksDb(absl::StrCat("commit of turn ", staged->meta.turn.value), s);
  }
  sessions_.Take(std::move(staged->sessions));
  link_ = LogLink(meta_row);
  const std::lock_guard lock(mu_);
  meta_ = staged->meta;
  window_ = std::move(window);
  return absl::OkStatus();
}

void RocksDbSlotStore::PutSlots(const TurnRecord& record, rocksdb::WriteBatch* batch) const {
  if (record.admin == AdminOp::kClear) {
    // Two range tombstones for any number of slots; what the same record writes comes after them.
    for (const RowKind kind : {RowKind::kSlot, RowKind::kPayload}) {
      const KeyRange range = KeyLayout::All(kind);
      batch->DeleteRange(range.begin, range.end);
    }
  }
  // In the order of their keys, kind after kind: a memtable finds a row's place from the one before, and the way from
  // its top to a random place is most of what a commit costs.
  std::vector<std::pair<std::string, const SlotWrite*>> slots;
  slots.reserve(record.writes.size());
  for (const SlotWrite& write : record.writes) slots.emplace_back(layout_.Slot(write.slot), &write);
  std::sort(slots.begin(), slots.end());
  std::string value;
  for (const auto& [key, write] : slots) {
    EncodeSlotRow(key, *write, &value);
    batch->Put(key, value);
  }
  for (const auto& [slot_key, write] : slots) {
    for (const PayloadRow& row : write->payloads) {
      const std::string key = layout_.Payload(write->slot, row.place);
      batch->Put(key, EncodePayload(key, row.step, row.bytes));
    }
  }
  for (const SlotId slot : record.freed) {
    batch->Delete(layout_.Slot(slot));
    for (uint32_t place = 0; place < options_.payload_history; ++place) {
      batch->Delete(layout_.Payload(slot, static_cast<uint16_t>(place)));
    }
  }
}

absl::Status RocksDbSlotStore::TruncateRecordsBefore(Turn turn) {
  const std::lock_guard lock(commit_mu_);
  if (absl::Status s = Health(); !s.ok()) return s;
  if (options_.read_only) return absl::FailedPreconditionError("the store was opened read-only");
  return WithoutExceptions([&]() -> absl::Status {
    RecordWindow window = window_;
    window.CutBefore(turn);
    if (window.first() == window_.first()) return absl::OkStatus();
    rocksdb::WriteBatch batch;
    batch.PutLogData(link_);
    for (Turn t = window_.first(); t < window.first(); t = t.Next()) batch.Delete(KeyLayout::Record(t));
    const std::string meta_key = KeyLayout::Meta();
    const std::string meta_row = EncodeMetaRow(meta_key, meta_, window);
    batch.Put(meta_key, meta_row);
    // Not synced: lost, it is done again.
    if (rocksdb::Status s = db_->Write({}, &batch); !s.ok()) return Fail(FromRocksDb("truncate records", s));
    link_ = LogLink(meta_row);
    const std::lock_guard moment(mu_);
    window_ = std::move(window);
    return absl::OkStatus();
  });
}

absl::Status RocksDbSlotStore::Fail(absl::Status status) {
  const std::lock_guard lock(mu_);
  failed_ = std::move(status);
  return failed_;
}

absl::Status RocksDbSlotStore::Health() const {
  const std::lock_guard lock(mu_);
  return failed_;
}

}  // namespace evoke
