// Snapshots on disk, read without a server: what they are, and whether they are whole.
//
// Reads only. Failure: DATA_LOSS naming the file, row or sum that does not fit; NOT_FOUND for no snapshot.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/slot_store.h"
#include "storage/snapshot.h"

namespace evoke {

// One line a complete snapshot, with the token that a trainer would keep.
void PrintSnapshots(const std::vector<SnapshotManifest>& snapshots, std::ostream& out);

// Every file against the manifest, then every row against the sums of its partition.
absl::Status VerifySnapshotFolder(const std::string& folder, std::ostream& out);

// Visits the rows of its store, by partition and slot; rows and sums are compared with the manifest.
absl::Status ScanSnapshot(const std::string& folder, const SnapshotManifest& manifest,
                          const std::function<absl::Status(const SlotRow&)>& visit);

}  // namespace evoke
