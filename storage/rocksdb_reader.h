// Who reads a RocksDbSlotStore beside its engine. Internal to rocksdb_*.cc.
#pragma once

#include <memory>
#include <set>
#include <shared_mutex>
#include <type_traits>

#include "storage/rocksdb_slot_store.h"

namespace evoke {

// What a store and its readers share. A reader holds `open` shared through every call; the store takes it
// alone to close, gives the snapshots back and leaves null: so a reader never meets a closed database, and
// never keeps one open.
struct RocksDbSlotStore::Readers {
  std::shared_mutex open;
  RocksDbSlotStore* store = nullptr;  // guarded by open; null once it is closed

  std::mutex mu;
  std::set<const rocksdb::Snapshot*> snapshots;  // guarded by mu; taken after open
};

class RocksDbSlotStore::Reader final : public StoreReader {
 public:
  Reader(std::shared_ptr<Readers> shared, MetaRow meta, const rocksdb::Snapshot* at)
      : shared_(std::move(shared)), meta_(meta), at_(at) {}
  ~Reader() override;

  const MetaRow& meta() const override { return meta_; }
  absl::Status ScanPartition(Partition partition,
                             const std::function<absl::Status(const SlotRow&)>& visit) const override;
  absl::Status ReadSlots(absl::Span<const SlotId> slots,
                         const std::function<absl::Status(const SlotRow&)>& visit) const override;
  absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const override;
  absl::StatusOr<Turn> Checkpoint(const std::string& dir) const override;

 private:
  // Runs `read(store)` while the store cannot close.
  template <typename Read>
  std::invoke_result_t<Read, RocksDbSlotStore&> WhileOpen(Read read) const;

  const std::shared_ptr<Readers> shared_;
  const MetaRow meta_;
  const rocksdb::Snapshot* const at_;
};

}  // namespace evoke
