// Snapshots and tokens between proto and plain values.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "evoke/v1/admin_service.pb.h"
#include "server/engine/snapshots.h"

namespace evoke {

// DATA_LOSS when its spec cannot be read.
absl::StatusOr<v1::Snapshot> ToProto(const SnapshotManifest& manifest);
v1::SnapshotToken ToProto(const StateToken& token);

// BAD_ARGUMENT for a token that is none.
absl::StatusOr<Snapshots::Which> ToWhich(const v1::RestoreSnapshotRequest& request);

// BAD_ARGUMENT: what a memory may be called.
absl::Status BadName(const char* field);

}  // namespace evoke
