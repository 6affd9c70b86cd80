#include "server/engine/snapshots.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/engine/await.h"
#include "server/memory/state_hash.h"

namespace evoke {
namespace {

absl::Status Error(absl::StatusCode code, const char* reason, const std::string& message) {
  return MakeError(code, message, {.reason = reason});
}

absl::Status NoSuchSnapshot(const std::string& what) {
  return Error(absl::StatusCode::kNotFound, "SNAPSHOT_NOT_FOUND",
               absl::StrCat("there is no complete snapshot ", what));
}

// What the storage says of a snapshot's files, with our reason.
absl::Status OfSnapshot(const absl::Status& status, const std::string& id) {
  if (absl::IsNotFound(status)) return NoSuchSnapshot(id);
  if (!absl::IsDataLoss(status)) return status;
  return Error(absl::StatusCode::kDataLoss, "CORRUPT_SNAPSHOT",
               absl::StrCat("snapshot ", id, ": ", status.message()));
}

FileProgress InPhase(const char* phase, const Snapshots::Progress& progress) {
  if (progress == nullptr) return nullptr;
  return [phase, &progress](uint64_t done, uint64_t total) { return progress(phase, done, total); };
}

// Gone with the block, unless it was moved away.
struct Scratch {
  std::string path;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

// --- places
// --------------------------------------------------------------------------------------------------------

std::string Snapshots::TmpPath(const char* what) {
  MutexLock lock(&mu_);
  return options_.data_dir->TmpPath(absl::StrCat(what, "-", ++made_));
}

std::shared_ptr<Mutex> Snapshots::WriterOf(const MemoryUid& uid) {
  MutexLock lock(&mu_);
  std::shared_ptr<Mutex>& writer = writers_[uid];
  if (writer == nullptr) writer = std::make_shared<Mutex>();
  return writer;
}

absl::StatusOr<std::string> Snapshots::FolderOf(const Place& place) const {
  if (!place.backup_folder) {
    if (place.memory == nullptr) return BadArgument("memory", "name a memory, or a backup_folder");
    return options_.data_dir->SnapshotsPath(place.memory->uid());
  }
  if (options_.backup_dir.empty()) return BadArgument("backup_folder", "this server has no backup-dir");
  // Never made here: on a volume that is not mounted, copies would fill the disk that they are to survive.
  std::error_code error;
  if (!std::filesystem::is_directory(options_.backup_dir, error)) {
    return BadArgument("backup_folder", absl::StrCat("the server's backup-dir ", options_.backup_dir,
                                                     " is no folder; is its volume mounted?"));
  }
  for (absl::string_view part : absl::StrSplit(*place.backup_folder, '/')) {
    if (part == ".." || (part.empty() && !place.backup_folder->empty())) {
      return BadArgument("backup_folder", "backup_folder must lie below the server's backup-dir");
    }
  }
  return place.backup_folder->empty() ? options_.backup_dir
                                      : absl::StrCat(options_.backup_dir, "/", *place.backup_folder);
}

absl::StatusOr<std::vector<SnapshotManifest>> Snapshots::List(const Place& place) const {
  EVOKE_ASSIGN_OR_RETURN(const std::string folder, FolderOf(place));
  EVOKE_ASSIGN_OR_RETURN(std::vector<SnapshotManifest> all, ListSnapshots(folder));
  if (place.memory != nullptr)
    std::erase_if(all, [&](const auto& m) { return m.uid != place.memory->uid(); });
  return all;
}

absl::StatusOr<SnapshotManifest> Snapshots::Find(const Place& place, const Which& which) const {
  EVOKE_ASSIGN_OR_RETURN(const std::string folder, FolderOf(place));
  if (which.id.empty() && !which.token) return BadArgument("id", "name a snapshot by id or by token");
  if (which.token && place.memory != nullptr && which.token->uid != place.memory->uid()) {
    return Error(absl::StatusCode::kFailedPrecondition, "TOKEN_MISMATCH",
                 absl::StrCat("the token is of memory ", which.token->uid.ToString(), ", \"", place.memory->name(),
                              "\" is ", place.memory->uid().ToString()));
  }
  if (!which.id.empty()) {
    if (!IsSnapshotId(which.id)) return NoSuchSnapshot(absl::StrCat("\"", which.id, "\""));
    absl::StatusOr<SnapshotManifest> manifest = ReadSnapshot(absl::StrCat(folder, "/", which.id));
    if (!manifest.ok()) return OfSnapshot(manifest.status(), which.id);
    if (which.token && *which.token != TokenOf(*manifest)) {
      return Error(absl::StatusCode::kFailedPrecondition, "TOKEN_MISMATCH",
                   absl::StrCat("snapshot ", which.id, " holds turn ", manifest->turn.value, " with hash ",
                                manifest->state_hash.ToString(), ", the token names turn ",
                                which.token->turn.value, " with ", which.token->state_hash.ToString()));
    }
    return manifest;
  }
  if (place.memory != nullptr && !place.backup_folder && which.token->uid != place.memory->uid()) {
    return Error(absl::StatusCode::kFailedPrecondition, "TOKEN_MISMATCH",
                 absl::StrCat("the token is of memory ", which.token->uid.ToString(), ", \"", place.memory->name(),
                              "\" is ", place.memory->uid().ToString()));
  }
  EVOKE_ASSIGN_OR_RETURN(const std::vector<SnapshotManifest> all, ListSnapshots(folder));
  for (const SnapshotManifest& manifest : all) {
    if (TokenOf(manifest) == *which.token) return manifest;
  }
  return NoSuchSnapshot(absl::StrCat("of memory ", which.token->uid.ToString(), " at epoch ",
                                     which.token->epoch.value, ", turn ", which.token->turn.value,
                                     " with hash ", which.token->state_hash.ToString()));
}

RocksDbSlotStore::Options Snapshots::StoreOptions(const MemoryUid& uid, const MemorySpec& spec,
                                                  const std::string& path) const {
  return {.path = path,
          .uid = uid,
          .key_dim = spec.key_dim,
          .partitions = spec.partitions,
          .payload_history = spec.payload_history,
          .durability = Durability::kFsync,
          .spec_digest = SpecDigest(spec),
          .keep_records_count = options_.keep_records_count,
          .keep_records_bytes = options_.keep_records_bytes,
          .shared = options_.rocksdb};
}

// --- making, checking, copying
// -------------------------------------------------------------------------------------

absl::StatusOr<SnapshotManifest> Snapshots::Create(const Place& of, bool scheduled, const Progress& progress) {
  const absl::Time began = options_.clock->Now();
  absl::StatusOr<SnapshotManifest> made = Make(of, scheduled, progress);
  SnapshotReport report{.made = made.ok(), .duration = options_.clock->Now() - began};
  if (made.ok()) {
    report.created = made->created;
    report.bytes = made->bytes();
  }
  of.memory->OnSnapshot(report);
  return made;
}

absl::StatusOr<SnapshotManifest> Snapshots::Make(const Place& of, bool scheduled, const Progress& progress) {
  const std::shared_ptr<Executor>& memory = of.memory;
  if (memory->spec().durability == SpecDurability::kMemory) {
    return Error(
        absl::StatusCode::kFailedPrecondition, "EPHEMERAL",
        absl::StrCat("memory \"", memory->name(), "\" lives in RAM only: export or fork it instead"));
  }
  EVOKE_RETURN_IF_ERROR(Writable());
  const std::shared_ptr<Mutex> writer = WriterOf(memory->uid());
  MutexLock lock(writer.get());
  if (progress && !progress("checkpoint", 0, 0)) return absl::CancelledError("given up by the caller");
  const Scratch scratch{TmpPath("snapshot")};
  std::filesystem::create_directory(scratch.path);
  {
    EVOKE_ASSIGN_OR_RETURN(const ReaderReply now, Await<ReaderReply>(*memory, ReaderCall{}, Requiring(of.epoch)));
    EVOKE_RETURN_IF_ERROR(now.reader->Checkpoint(scratch.path + "/store").status());
  }
  SnapshotManifest manifest{.memory = memory->name(),
                            .spec = EncodeSpec(memory->spec()),
                            .spec_digest = SpecDigest(memory->spec()),
                            .uid = memory->uid()};
  EVOKE_RETURN_IF_ERROR(CheckContent(scratch.path + "/store", progress, &manifest));
  manifest.created = absl::FromUnixMillis(absl::ToUnixMillis(options_.clock->Now()));
  manifest.scheduled = scheduled;
  manifest.id = SnapshotId(manifest.epoch, manifest.turn, manifest.created);
  EVOKE_RETURN_IF_ERROR(HashFiles(scratch.path, InPhase("hash", progress), &manifest));
  EVOKE_ASSIGN_OR_RETURN(const std::string parent, options_.data_dir->MakeSnapshotsFolder(memory->uid()));
  EVOKE_RETURN_IF_ERROR(PublishSnapshot(scratch.path, parent, manifest));
  if (scheduled) EVOKE_RETURN_IF_ERROR(Retain(memory->uid()));
  return manifest;
}

// Reads every row: what it holds is filled in where the manifest says nothing yet, and compared where it
// does.
absl::Status Snapshots::CheckContent(const std::string& store_path, const Progress& progress,
                                     SnapshotManifest* manifest) const {
  EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(manifest->spec));
  RocksDbSlotStore::Options options = StoreOptions(manifest->uid, spec, store_path);
  options.read_only = true;
  EVOKE_ASSIGN_OR_RETURN(const auto store, RocksDbSlotStore::Open(std::move(options)));
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store->ReadMeta());
  SnapshotManifest found = *manifest;
  found.epoch = meta.epoch;
  found.term = meta.term;
  found.turn = meta.turn;
  found.step = meta.step;
  found.chain = meta.chain;
  found.partitions.assign(spec.partitions, {});
  found.state_hash = {};
  found.live_count = 0;
  for (uint32_t p = 0; p < spec.partitions; ++p) {
    SnapshotManifest::PartitionSum& sum = found.partitions[p];
    EVOKE_RETURN_IF_ERROR(store->ScanPartition(Partition(p), [&](const SlotRow& row) -> absl::Status {
      sum.hash += SlotHash(row.slot.value, row.value, row.written_step.value, row.hits, row.key);
      if (++sum.rows % 4096 != 0 || !progress ||
          progress("check", found.live_count + sum.rows, meta.live_count))
        return absl::OkStatus();
      return absl::CancelledError("given up by the caller");
    }));
    found.state_hash += sum.hash;
    found.live_count += sum.rows;
  }
  if (found.state_hash != meta.state_hash || found.live_count != meta.live_count) {
    return absl::DataLossError(absl::StrCat("it holds ", found.live_count, " slots with hash ",
                                            found.state_hash.ToString(), ", its meta row says ",
                                            meta.live_count, " with ", meta.state_hash.ToString()));
  }
  if (!manifest->partitions.empty() && found != *manifest)
    return absl::DataLossError("its rows are not what its manifest says");
  *manifest = std::move(found);
  return absl::OkStatus();
}

absl::StatusOr<SnapshotManifest> Snapshots::Verify(const Place& place, const std::string& id,
                                                   const Progress& progress) const {
  EVOKE_ASSIGN_OR_RETURN(SnapshotManifest manifest, Find(place, {.id = id}));
  EVOKE_ASSIGN_OR_RETURN(const std::string parent, FolderOf(place));
  const std::string folder = absl::StrCat(parent, "/", id);
  absl::Status status = VerifyFiles(folder, manifest, InPhase("hash", progress));
  if (status.ok()) status = CheckContent(folder + "/store", progress, &manifest);
  if (!status.ok()) return OfSnapshot(status, id);
  return manifest;
}

absl::StatusOr<SnapshotManifest> Snapshots::Copy(const Place& from, const std::string& id,
                                                 const std::string& backup_folder,
                                                 const Progress& progress) const {
  EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, Find(from, {.id = id}));
  EVOKE_ASSIGN_OR_RETURN(const std::string parent, FolderOf(from));
  EVOKE_ASSIGN_OR_RETURN(const std::string to, FolderOf({.backup_folder = backup_folder}));
  const absl::Status copied = CopySnapshot(absl::StrCat(parent, "/", id), to, InPhase("copy", progress));
  if (!copied.ok()) return OfSnapshot(copied, id);
  return manifest;
}

absl::StatusOr<bool> Snapshots::Delete(const std::shared_ptr<Executor>& memory, const std::string& id) {
  if (!IsSnapshotId(id)) return NoSuchSnapshot(absl::StrCat("\"", id, "\""));
  const std::shared_ptr<Mutex> writer = WriterOf(memory->uid());
  MutexLock lock(writer.get());
  return RemoveSnapshot(absl::StrCat(options_.data_dir->SnapshotsPath(memory->uid()), "/", id));
}

// By the order of states, never by the clock.
absl::Status Snapshots::Retain(const MemoryUid& uid) {
  const std::string folder = options_.data_dir->SnapshotsPath(uid);
  EVOKE_ASSIGN_OR_RETURN(std::vector<SnapshotManifest> all, ListSnapshots(folder));
  std::erase_if(all, [](const SnapshotManifest& m) { return !m.scheduled; });
  for (size_t i = 0; i + options_.keep_scheduled < all.size(); ++i) {
    EVOKE_RETURN_IF_ERROR(RemoveSnapshot(absl::StrCat(folder, "/", all[i].id)).status());
  }
  return absl::OkStatus();
}

}  // namespace evoke
