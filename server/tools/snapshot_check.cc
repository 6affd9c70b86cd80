#include "server/tools/snapshot_check.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "server/base/status_macros.h"
#include "server/memory/memory_spec.h"
#include "server/memory/state_hash.h"
#include "storage/rocksdb_slot_store.h"

namespace evoke {

void PrintSnapshots(const std::vector<SnapshotManifest>& snapshots, std::ostream& out) {
  for (const SnapshotManifest& m : snapshots) {
    out << absl::StrFormat("%s  \"%s\"  %u slots  %u bytes%s  evoke1:%s:%u:%u:%u:%s\n", m.id, m.memory, m.live_count,
                           m.bytes(), m.scheduled ? "  scheduled" : "", m.uid.ToString(), m.epoch.value, m.turn.value,
                           m.step.value, m.state_hash.ToString());
  }
}

absl::Status VerifySnapshotFolder(const std::string& folder, std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, ReadSnapshot(folder));
  EVOKE_RETURN_IF_ERROR(VerifyFiles(folder, manifest, nullptr));
  EVOKE_RETURN_IF_ERROR(ScanSnapshot(folder, manifest, [](const SlotRow&) { return absl::OkStatus(); }));
  out << absl::StrFormat("snapshot %s of \"%s\": %u files, %u bytes, %u slots, hash %s: OK\n", manifest.id,
                         manifest.memory, manifest.files.size(), manifest.bytes(), manifest.live_count,
                         manifest.state_hash.ToString());
  return absl::OkStatus();
}

absl::Status ScanSnapshot(const std::string& folder, const SnapshotManifest& manifest,
                          const std::function<absl::Status(const SlotRow&)>& visit) {
  const auto differs = [&](const auto&... what) {
    return absl::DataLossError(absl::StrCat("snapshot ", manifest.id, ": ", what...));
  };
  EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(manifest.spec));
  EVOKE_ASSIGN_OR_RETURN(const auto store, RocksDbSlotStore::Open({.path = folder + "/store",
                                                                   .uid = manifest.uid,
                                                                   .key_dim = spec.key_dim,
                                                                   .partitions = spec.partitions,
                                                                   .payload_history = spec.payload_history,
                                                                   .spec_digest = manifest.spec_digest,
                                                                   .read_only = true}));
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store->ReadMeta());
  if (meta.turn != manifest.turn || meta.epoch != manifest.epoch || meta.step != manifest.step ||
      meta.chain != manifest.chain || meta.state_hash != manifest.state_hash) {
    return differs("its store is at turn ", meta.turn.value, " with hash ", meta.state_hash.ToString(),
                   ", the manifest says ", manifest.turn.value, " with ", manifest.state_hash.ToString());
  }
  if (manifest.partitions.size() != spec.partitions) {
    return differs("the manifest has ", manifest.partitions.size(), " partitions, the spec ", spec.partitions);
  }
  for (uint32_t p = 0; p < spec.partitions; ++p) {
    SnapshotManifest::PartitionSum sum;
    EVOKE_RETURN_IF_ERROR(store->ScanPartition(Partition(p), [&](const SlotRow& row) {
      sum.hash += SlotHash(row.slot.value, row.value, row.written_step.value, row.hits, row.key);
      ++sum.rows;
      return visit(row);
    }));
    if (sum != manifest.partitions[p]) {
      return differs("partition ", p, " holds ", sum.rows, " slots with hash ", sum.hash.ToString(),
                     ", the manifest says ", manifest.partitions[p].rows, " with ",
                     manifest.partitions[p].hash.ToString());
    }
  }
  return absl::OkStatus();
}

}  // namespace evoke
