// A copied store becomes that of a fork, or of a memory that was restored.
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"
#include "storage/rocksdb_slot_store.h"
#include "storage/rocksdb_status.h"

namespace evoke {

absl::Status RocksDbSlotStore::Adopt(Options options, const TurnRecord& record) {
  if (absl::Status s = CheckTurnRecord(record); !s.ok()) return s;
  absl::StatusOr<Options> copied = Describe(options.path);
  if (!copied.ok()) return copied.status();
  copied->read_only = false;
  copied->shared = options.shared;
  absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> store = Open(*copied);
  if (!store.ok()) return store.status();
  return WithoutExceptions([&] { return (*store)->WriteAdopted(record, options); });
}

absl::Status RocksDbSlotStore::WriteAdopted(const TurnRecord& record, const Options& owner) {
  const std::lock_guard lock(commit_mu_);
  const auto refuse = [&](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("the copy in ", options_.path, " ", what...));
  };
  if (!record.origin || !record.writes.empty() || record.uid != owner.uid)
    return refuse("needs a record of its owner");
  const StateOrigin& origin = *record.origin;
  if (meta_.uid != origin.uid || meta_.epoch != origin.epoch || meta_.turn != origin.turn ||
      meta_.chain != origin.chain || meta_.step != origin.step || meta_.state_hash != origin.state_hash) {
    return refuse("is of memory ", meta_.uid.ToString(), " at turn ", meta_.turn.value, ", the record says ",
                  origin.uid.ToString(), " at turn ", origin.turn.value);
  }
  if (owner.spec_digest != options_.spec_digest || owner.key_dim != options_.key_dim ||
      owner.partitions != options_.partitions || owner.payload_history != options_.payload_history) {
    return refuse("has spec ", options_.spec_digest.ToString(), ", its owner ", owner.spec_digest.ToString());
  }

  rocksdb::WriteBatch batch;
  batch.PutLogData(link_);
  for (const RowKind kind : {RowKind::kSession, RowKind::kReply, RowKind::kRecord}) {
    const KeyRange range = KeyLayout::All(kind);
    batch.DeleteRange(range.begin, range.end);
  }
  const EncodedTurn encoded = EncodeTurnRecord(record);
  RecordWindow window(record.turn);
  window.Add(encoded.bytes.size(), {.count = owner.keep_records_count, .bytes = owner.keep_records_bytes});
  if (window.first() <= record.turn) batch.Put(KeyLayout::Record(record.turn), encoded.bytes);
  const MetaRow meta{.uid = record.uid,
                     .epoch = record.epoch,
                     .term = record.term,
                     .turn = record.turn,
                     .step = record.step_after,
                     .chain = encoded.chain,
                     .state_hash = record.state_hash,
                     .spec_digest = options_.spec_digest,
                     .live_count = record.live_after,
                     // Every session of a memory that is restored is forgotten, whatever its last turn was.
                     .forgotten_turn = Turn(record.turn.value - 1)};
  const std::string meta_key = KeyLayout::Meta();
  batch.Put(meta_key, EncodeMetaRow(meta_key, meta, window));
  rocksdb::WriteOptions durable;
  durable.sync = true;
  return FromRocksDb(absl::StrCat("adopt ", options_.path), db_->Write(durable, &batch));
}

}  // namespace evoke
