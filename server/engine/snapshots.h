// Snapshots of memories, and what is made from them: restored memories and forks.
//
//   Create   checkpoint of the store in tmp/ -> every row read and summed -> every file hashed -> published
//   Restore  a clone of the snapshot in tmp/, checked -> it takes over the memory's name and numbers ->
//   swapped in Fork     the same with a checkpoint of now, as a new memory
//
// Calls of the memory go on meanwhile, but for the moment in which a restore in place swaps the store.
//
// Threads: thread-safe; every call blocks, on threads that are neither the catalog's schedulers. Two that
// would write the same memory's snapshots wait for each other. Failure: what is not finished lies in tmp/ and
// is gone at the next start. CANCELLED when `progress` says so.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/engine/catalog.h"
#include "storage/snapshot.h"

namespace evoke {

// Names one state of one memory (proto: SnapshotToken).
struct StateToken {
  MemoryUid uid;
  Epoch epoch;
  Turn turn;
  Step step;
  Hash128 state_hash;
  friend bool operator==(const StateToken&, const StateToken&) = default;
};
inline StateToken TokenOf(const SnapshotManifest& m) { return {m.uid, m.epoch, m.turn, m.step, m.state_hash}; }

class Snapshots {
 public:
  struct Options {
    DataDir* data_dir = nullptr;  // these three must outlive it
    Catalog* catalog = nullptr;
    Clock* clock = nullptr;
    std::string backup_dir;        // other folders lie below it; empty: there are none
    uint32_t keep_scheduled = 24;  // of each memory
    uint64_t keep_records_count = 4096;
    uint64_t keep_records_bytes = uint64_t{64} << 20;
    std::shared_ptr<RocksDbResources> rocksdb;
    std::function<absl::Status()> writable;  // why the disk must not be written now; null: it may be
  };
  explicit Snapshots(Options options) : options_(std::move(options)) {}

  // Where a call stands; false gives it up. Phases as in the proto.
  using Progress = std::function<bool(const char* phase, uint64_t done, uint64_t total)>;

  // Where to look: among a memory's own, or in a folder below backup_dir.
  struct Place {
    std::shared_ptr<Executor> memory;
    std::optional<std::string> backup_folder;
    std::optional<Epoch> epoch;  // Create, Restore, Fork: the one that the memory must have, else STALE_MEMORY
  };
  // EPHEMERAL for a memory without a store. A scheduled one is followed by retention: of the scheduled ones,
  // the latest keep_scheduled stay.
  absl::StatusOr<SnapshotManifest> Create(const Place& of, bool scheduled, const Progress& progress);

  struct Which {
    std::string id;                   // or
    std::optional<StateToken> token;  // or both, which then must agree
  };
  absl::StatusOr<std::vector<SnapshotManifest>> List(const Place& place) const;
  // SNAPSHOT_NOT_FOUND, TOKEN_MISMATCH, or CORRUPT_SNAPSHOT when its manifest is damaged.
  absl::StatusOr<SnapshotManifest> Find(const Place& place, const Which& which) const;
  absl::StatusOr<SnapshotManifest> Verify(const Place& place, const std::string& id,
                                          const Progress& progress) const;
  absl::StatusOr<SnapshotManifest> Copy(const Place& from, const std::string& id,
                                        const std::string& backup_folder, const Progress& progress) const;
  absl::StatusOr<bool> Delete(const std::shared_ptr<Executor>& memory, const std::string& id);

  struct Restored {
    SnapshotManifest manifest;
    std::shared_ptr<Executor> memory;
    bool changed = true;  // false: it was in that state already
  };
  // In place: the memory of `place` gets the content; it must have the uid and the spec of the snapshot.
  absl::StatusOr<Restored> Restore(const Place& place, const Which& which, const Progress& progress);
  absl::StatusOr<Restored> RestoreAs(const Place& place, const Which& which, const std::string& name,
                                     const MemoryUid& uid, const Progress& progress);

  struct Forked {
    std::shared_ptr<Executor> memory;
    StateToken origin;
  };
  absl::StatusOr<Forked> Fork(const Place& from, const std::string& name, const MemoryUid& uid);

 private:
  absl::StatusOr<std::string> FolderOf(const Place& place) const;
  absl::Status CheckContent(const std::string& store_path, const Progress& progress,
                            SnapshotManifest* manifest) const;
  RocksDbSlotStore::Options StoreOptions(const MemoryUid& uid, const MemorySpec& spec,
                                         const std::string& path) const;
  absl::Status Retain(const MemoryUid& uid);
  absl::StatusOr<Forked> ForkInRam(const Place& from, const std::string& name, const MemoryUid& uid);
  absl::StatusOr<SnapshotManifest> Make(const Place& of, bool scheduled, const Progress& progress);
  absl::Status Writable() const { return options_.writable ? options_.writable() : absl::OkStatus(); }
  std::string TmpPath(const char* what);
  std::shared_ptr<Mutex> WriterOf(const MemoryUid& uid);

  const Options options_;
  Mutex mu_;
  std::map<MemoryUid, std::shared_ptr<Mutex>> writers_ ABSL_GUARDED_BY(mu_);
  uint64_t made_ ABSL_GUARDED_BY(mu_) = 0;  // names in tmp/
};

}  // namespace evoke
