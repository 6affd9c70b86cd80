// Between snapshots.h, transfers.h and the protos. Internal.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "evoke/snapshots.h"
#include "evoke/transfers.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"

namespace evoke::client {

SnapshotToken FromProto(const v1::SnapshotToken& proto);
void ToProto(const SnapshotToken& token, v1::SnapshotToken* proto);
Snapshot FromProto(const v1::Snapshot& proto);
// Fills id, token and backup_folder.
void ToProto(const SnapshotName& name, v1::RestoreSnapshotRequest* proto);

// INTERNAL naming the column whose length contradicts the row count, or a payload of a row that is not there.
absl::StatusOr<SlotRows> FromProto(const v1::SlotRows& proto, uint32_t key_dim);
// INVALID_ARGUMENT / BAD_SHAPE when the columns do not have one length.
absl::Status ToProto(const SlotRows& rows, uint32_t key_dim, v1::SlotRows* proto);
absl::Status ToProto(const ImportRowsRequest& request, v1::NewRows* proto);
absl::StatusOr<ImportResult> FromProto(const v1::ImportResponse& proto);

}  // namespace evoke::client
