#include "storage/rocksdb_reader.h"

#include <mutex>

#include "rocksdb/db.h"
#include "storage/rocksdb_status.h"

namespace evoke {

template <typename Read>
std::invoke_result_t<Read, RocksDbSlotStore&> RocksDbSlotStore::Reader::WhileOpen(Read read) const {
  const std::shared_lock open(shared_->open);
  if (shared_->store == nullptr) return absl::UnavailableError("the store was closed meanwhile");
  if (absl::Status s = shared_->store->Health(); !s.ok()) return s;
  return WithoutExceptions([&] { return read(*shared_->store); });
}

RocksDbSlotStore::Reader::~Reader() {
  const std::shared_lock open(shared_->open);
  if (shared_->store == nullptr) return;
  const std::lock_guard lock(shared_->mu);
  shared_->snapshots.erase(at_);
  shared_->store->db_->ReleaseSnapshot(at_);
}

absl::Status RocksDbSlotStore::Reader::ScanPartition(
    Partition partition, const std::function<absl::Status(const SlotRow&)>& visit) const {
  return WhileOpen([&](const RocksDbSlotStore& store) { return store.ScanSlots(partition, at_, visit); });
}

absl::Status RocksDbSlotStore::Reader::ReadSlots(
    absl::Span<const SlotId> slots, const std::function<absl::Status(const SlotRow&)>& visit) const {
  return WhileOpen([&](const RocksDbSlotStore& store) { return store.ReadSlotRows(slots, at_, visit); });
}

absl::Status RocksDbSlotStore::Reader::ReadPayloads(absl::Span<SlotPayloads> slots) const {
  return WhileOpen([&](const RocksDbSlotStore& store) { return store.ReadPayloadRows(slots, at_); });
}

absl::StatusOr<Turn> RocksDbSlotStore::Reader::Checkpoint(const std::string& dir) const {
  return WhileOpen([&](RocksDbSlotStore& store) { return store.Checkpoint(dir); });
}

absl::StatusOr<std::shared_ptr<const StoreReader>> RocksDbSlotStore::OpenReader() {
  // No commit may come between the numbers and the snapshot.
  const std::lock_guard commit(commit_mu_);
  absl::StatusOr<MetaRow> meta = ReadMeta();
  if (!meta.ok()) return meta.status();
  const rocksdb::Snapshot* at = db_->GetSnapshot();
  const std::lock_guard lock(readers_->mu);
  readers_->snapshots.insert(at);
  return std::make_shared<const Reader>(readers_, *meta, at);
}

}  // namespace evoke
