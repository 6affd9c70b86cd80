// The half of Snapshots that makes memories: restore in place, restore as new, fork.
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/engine/await.h"
#include "server/engine/memory_content.h"
#include "server/engine/snapshots.h"

namespace evoke {
namespace {

StateOrigin OriginOf(const SnapshotManifest& m) {
  return {m.uid, m.epoch, m.turn, m.step, m.chain, m.state_hash};
}

// The first turn of a copy.
TurnRecord ForkRecord(const StateOrigin& origin, uint64_t live_count, const MemoryUid& uid) {
  return {.uid = uid,
          .epoch = Epoch(1),
          .turn = Turn(1),
          .step_after = origin.step,
          .admin = AdminOp::kFork,
          .origin = origin,
          .state_hash = origin.state_hash,
          .live_after = live_count};
}

TurnRecord RestoreRecord(const SnapshotManifest& manifest, const MetaRow& last) {
  return {.uid = last.uid,
          .epoch = last.epoch.Next(),
          .term = last.term,
          .turn = last.turn.Next(),
          .previous_chain = last.chain,
          .step_before = last.step,
          .step_after = manifest.step,
          .admin = AdminOp::kRestore,
          .origin = OriginOf(manifest),
          .state_hash = manifest.state_hash,
          .live_after = manifest.live_count};
}

// The numbers that a restore follows. Those of a store that is beyond reading are not known, so they are put
// beyond any that it can have told (as etcd bumps revisions): no turn is answered twice with another state,
// and every session that was opened before is refused.
absl::StatusOr<MetaRow> LastNumbers(const absl::StatusOr<MetaRow>& last, const SnapshotManifest& manifest) {
  const bool lost = absl::IsDataLoss(last.status()) || absl::IsNotFound(last.status());
  if (last.ok() || !lost) return last;
  return MetaRow{.uid = manifest.uid,
                 .epoch = Epoch(manifest.epoch.value + (uint64_t{1} << 20)),
                 .term = manifest.term,
                 .turn = Turn(manifest.turn.value + (uint64_t{1} << 32)),
                 .step = manifest.step};
}

absl::Status Mismatch(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, message, {.reason = "TOKEN_MISMATCH"});
}

// A repeated restore whose first attempt was done must not undo what was written since: its client requires the epoch
// that it replaces.
absl::Status CheckEpoch(const Snapshots::Place& place, Epoch is) {
  if (!place.epoch || *place.epoch == is) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("memory \"", place.memory->name(), "\" is at epoch ", is.value, ", the request requires ",
                                place.epoch->value),
                   {.reason = "STALE_MEMORY", .metadata = {{"epoch", absl::StrCat(is.value)}}});
}

absl::Status ReplaceStoreAndWait(Executor& memory, decltype(Executor::Replacement::replace) replace) {
  Mutex mu;
  CondVar come;
  std::optional<absl::Status> result;
  memory.ReplaceStore({.replace = std::move(replace), .done = [&](absl::Status status) {
                         MutexLock lock(&mu);
                         result = std::move(status);
                         come.SignalAll();
                       }});
  MutexLock lock(&mu);
  while (!result) come.Wait(&mu);
  return *result;
}

}  // namespace

absl::StatusOr<Snapshots::Restored> Snapshots::Restore(const Place& place, const Which& which,
                                                       const Progress& progress) {
  if (place.memory == nullptr) return BadArgument("memory", "name the memory that is to be restored");
  Executor& memory = *place.memory;
  EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, Find(place, which));
  if (manifest.uid != memory.uid()) {
    return Mismatch(absl::StrCat("snapshot ", manifest.id, " is of memory ", manifest.uid.ToString(), ", \"",
                                 memory.name(), "\" is ", memory.uid().ToString(),
                                 "; restore it as a new memory"));
  }
  // By a turn of its own: figures may lag behind what was acknowledged. A memory that cannot answer is
  // restored.
  if (const auto now = Await<InspectReply>(memory, InspectCall{}); now.ok()) {
    const StateToken current{now->state.uid, now->state.epoch, now->state.turn, now->state.step,
                             now->state_hash};
    if (current == TokenOf(manifest))
      return Restored{.manifest = manifest, .memory = place.memory, .changed = false};
    EVOKE_RETURN_IF_ERROR(CheckEpoch(place, now->state.epoch));
  }
  EVOKE_ASSIGN_OR_RETURN(const std::string parent, FolderOf(place));
  EVOKE_RETURN_IF_ERROR(Writable());
  const std::shared_ptr<Mutex> writer = WriterOf(memory.uid());
  MutexLock lock(writer.get());
  const std::string tmp = TmpPath("restore");
  absl::Status status = CloneStore(
      absl::StrCat(parent, "/", manifest.id), manifest, tmp,
      [&](uint64_t done, uint64_t total) { return !progress || progress("restore", done, total); });
  if (absl::IsDataLoss(status)) {
    return MakeError(status.code(), absl::StrCat("snapshot ", manifest.id, ": ", status.message()),
                     {.reason = "CORRUPT_SNAPSHOT"});
  }
  if (!status.ok()) return status;
  status = ReplaceStoreAndWait(memory, [&](const absl::StatusOr<MetaRow>& found) -> absl::Status {
    if (found.ok()) EVOKE_RETURN_IF_ERROR(CheckEpoch(place, found->epoch));  // again: a Clear may have come first
    EVOKE_ASSIGN_OR_RETURN(const MetaRow last, LastNumbers(found, manifest));
    EVOKE_RETURN_IF_ERROR(RocksDbSlotStore::Adopt(StoreOptions(memory.uid(), memory.spec(), tmp),
                                                  RestoreRecord(manifest, last)));
    return options_.data_dir->ReplaceStore(memory.uid(), tmp);
  });
  if (!status.ok()) return status;
  return Restored{.manifest = manifest, .memory = place.memory};
}

absl::StatusOr<Snapshots::Restored> Snapshots::RestoreAs(const Place& place, const Which& which,
                                                         const std::string& name, const MemoryUid& wanted_uid,
                                                         const Progress& progress) {
  EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, Find(place, which));
  EVOKE_ASSIGN_OR_RETURN(const std::string parent, FolderOf(place));
  EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(manifest.spec));
  const auto build = [&](const MemoryUid& uid, const std::string& store_path) -> absl::Status {
    EVOKE_RETURN_IF_ERROR(CloneStore(
        absl::StrCat(parent, "/", manifest.id), manifest, store_path,
        [&](uint64_t done, uint64_t total) { return !progress || progress("restore", done, total); }));
    return RocksDbSlotStore::Adopt(StoreOptions(uid, spec, store_path),
                                   ForkRecord(OriginOf(manifest), manifest.live_count, uid));
  };
  absl::StatusOr<Catalog::Created> created = options_.catalog->CreateFrom(name, spec, wanted_uid, build);
  if (absl::IsDataLoss(created.status())) {
    return MakeError(created.status().code(),
                     absl::StrCat("snapshot ", manifest.id, ": ", created.status().message()),
                     {.reason = "CORRUPT_SNAPSHOT"});
  }
  if (!created.ok()) return created.status();
  return Restored{.manifest = manifest, .memory = created->executor, .changed = created->created};
}

absl::StatusOr<Snapshots::Forked> Snapshots::Fork(const Place& of, const std::string& name,
                                                  const MemoryUid& wanted_uid) {
  const std::shared_ptr<Executor>& memory = of.memory;
  if (memory->spec().durability == SpecDurability::kMemory) return ForkInRam(of, name, wanted_uid);
  StateToken from{.uid = memory->uid()};
  const auto build = [&](const MemoryUid& uid, const std::string& store_path) -> absl::Status {
    EVOKE_ASSIGN_OR_RETURN(const ReaderReply now, Await<ReaderReply>(*memory, ReaderCall{}, Requiring(of.epoch)));
    EVOKE_RETURN_IF_ERROR(now.reader->Checkpoint(store_path).status());
    RocksDbSlotStore::Options copied = StoreOptions(memory->uid(), memory->spec(), store_path);
    copied.read_only = true;
    // Of the reader's turn or a later one: the copy says which.
    absl::StatusOr<std::unique_ptr<RocksDbSlotStore>> copy = RocksDbSlotStore::Open(std::move(copied));
    if (!copy.ok()) return copy.status();
    EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, (*copy)->ReadMeta());
    copy->reset();
    from = {meta.uid, meta.epoch, meta.turn, meta.step, meta.state_hash};
    const StateOrigin origin{meta.uid, meta.epoch, meta.turn, meta.step, meta.chain, meta.state_hash};
    return RocksDbSlotStore::Adopt(StoreOptions(uid, memory->spec(), store_path),
                                   ForkRecord(origin, meta.live_count, uid));
  };
  EVOKE_ASSIGN_OR_RETURN(const Catalog::Created created,
                         options_.catalog->CreateFrom(name, memory->spec(), wanted_uid, build));
  return Forked{.memory = created.executor, .origin = from};
}

// Without a store there are no files to copy: all slots become the first turn of the copy.
absl::StatusOr<Snapshots::Forked> Snapshots::ForkInRam(const Place& of, const std::string& name,
                                                       const MemoryUid& uid) {
  const std::shared_ptr<Executor>& memory = of.memory;
  MemoryContent::Options options;
  if (of.epoch) options.epoch = of.epoch->value;
  EVOKE_ASSIGN_OR_RETURN(const auto content, MemoryContent::Open(*memory, options));
  EVOKE_ASSIGN_OR_RETURN(const Catalog::Created created,
                         options_.catalog->Create(name, memory->spec(), uid, /*if_not_exists=*/false));
  const StateName& at = content->state();
  const StateOrigin origin{at.uid, at.epoch, at.turn, at.step, content->chain(), content->state_hash()};
  const StateToken token{at.uid, at.epoch, at.turn, at.step, content->state_hash()};
  if (!created.created) return Forked{.memory = created.executor, .origin = token};
  ImportCall call{.origin = origin, .exact = true, .step_after = at.step.value};
  absl::StatusOr<std::vector<ImportRow>> rows = content->Next(content->rows());
  absl::Status status = rows.status();
  if (status.ok()) {
    call.rows = *std::move(rows);
    call.encode = [](const ImportReply&) { return std::string(); };
    status = Await<std::string>(*created.executor, std::move(call)).status();
  }
  if (status.ok()) return Forked{.memory = created.executor, .origin = token};
  options_.catalog->Delete(name, created.executor->uid()).IgnoreError();
  return status;
}

}  // namespace evoke
