// The calls of a client that make memories out of others, or look at backups of any.
#include "evoke/client.h"
#include "evoke/convert.h"
#include "evoke/convert_snapshot.h"
#include "evoke/long_call.h"
#include "evoke/snapshots.h"

namespace evoke::client {

absl::StatusOr<ForkResult> Client::ForkMemory(const std::string& name, const std::string& new_name,
                                              const LongCallOptions& options) {
  const absl::StatusOr<absl::Time> end = connection_->LongDeadlineAfter(options.deadline);
  if (!end.ok()) return end.status();
  const absl::StatusOr<Memory> from = OpenMemory(name);  // the handle of the copy needs its key_dim
  if (!from.ok()) return from.status();
  v1::ForkMemoryRequest request;
  v1::ForkMemoryResponse reply;
  request.mutable_memory()->set_name(name);
  request.mutable_memory()->set_uid(from->uid().ToBytes());
  request.set_name(new_name);
  // With a uid of our own a repeated Fork recognises its copy instead of finding the name taken.
  request.set_uid(Id128::Random().ToBytes());
  const absl::Status status = connection_->Run(
      absl::StrCat("ForkMemory of memory \"", name, "\""), *end,
      [&](auto& stubs, auto* context) { return stubs.admin->ForkMemory(context, request, &reply); }, nullptr,
      Connection::AttemptTime::kAll);
  if (!status.ok()) return status;
  const ReplyHeader header = FromProto(reply.header());
  return ForkResult{.memory = HandleOf(new_name, header.uid, from->key_dim(), header.turn),
                    .header = header,
                    .origin = FromProto(reply.origin())};
}

absl::StatusOr<RestoreAsResult> Client::RestoreSnapshotAs(const std::string& new_name,
                                                          const SnapshotName& snapshot,
                                                          const std::string& memory,
                                                          const LongCallOptions& options) {
  v1::RestoreSnapshotRequest request;
  v1::RestoreSnapshotResponse last;
  if (!memory.empty()) request.mutable_memory()->set_name(memory);
  ToProto(snapshot, &request);
  request.set_new_name(new_name);
  request.set_new_uid(Id128::Random().ToBytes());
  const absl::Status status =
      LongCall(*connection_,
               LongRpc<v1::RestoreSnapshotRequest, v1::RestoreSnapshotResponse>{
                   "RestoreSnapshot", &v1::AdminService::Stub::RestoreSnapshot},
               absl::StrCat("a snapshot as memory \"", new_name, "\""), request, options, &last);
  if (!status.ok()) return status;
  const ReplyHeader header = FromProto(last.header());
  return RestoreAsResult{
      .memory = HandleOf(new_name, header.uid, last.snapshot().spec().key_dim(), header.turn),
      .restored = {.header = header, .snapshot = FromProto(last.snapshot()), .changed = true}};
}

absl::StatusOr<std::vector<Snapshot>> Client::ListBackups(const std::string& backup_folder,
                                                          Deadline deadline) {
  const absl::StatusOr<absl::Time> end = connection_->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::ListSnapshotsRequest request;
  v1::ListSnapshotsResponse reply;
  request.set_backup_folder(backup_folder);
  const absl::Status status = connection_->Run(
      "ListSnapshots of backups", *end,
      [&](auto& stubs, auto* context) { return stubs.admin->ListSnapshots(context, request, &reply); });
  if (!status.ok()) return status;
  std::vector<Snapshot> snapshots;
  for (const v1::Snapshot& snapshot : reply.snapshots()) snapshots.push_back(FromProto(snapshot));
  return snapshots;
}

absl::StatusOr<Snapshot> Client::VerifyBackup(const std::string& backup_folder, const std::string& id,
                                              const LongCallOptions& options) {
  v1::VerifySnapshotRequest request;
  v1::VerifySnapshotResponse last;
  request.set_id(id);
  request.set_backup_folder(backup_folder);
  const absl::Status status = LongCall(*connection_,
                                       LongRpc<v1::VerifySnapshotRequest, v1::VerifySnapshotResponse>{
                                           "VerifySnapshot", &v1::AdminService::Stub::VerifySnapshot},
                                       "a backup", request, options, &last);
  if (!status.ok()) return status;
  return FromProto(last.snapshot());
}

}  // namespace evoke::client
