// The calls of a handle that deal with snapshots of its memory.
#include <algorithm>
#include <set>

#include "evoke/convert.h"
#include "evoke/convert_snapshot.h"
#include "evoke/long_call.h"
#include "evoke/memory_calls.h"
#include "evoke/snapshots.h"

namespace evoke::client {
namespace {

std::string Quoted(const MemoryCore& core) {
  return absl::StrCat("memory \"", core.name, "\"");
}

absl::StatusOr<std::vector<Snapshot>> List(MemoryCore& core, const std::optional<std::string>& backup_folder,
                                           absl::Time deadline) {
  v1::ListSnapshotsRequest request;
  v1::ListSnapshotsResponse reply;
  FillMemoryRef(core, {}, request.mutable_memory());
  if (backup_folder.has_value()) request.set_backup_folder(*backup_folder);
  const absl::Status status = core.connection->Run(
      absl::StrCat("ListSnapshots of ", Quoted(core)), deadline,
      [&](auto& stubs, auto* context) { return stubs.admin->ListSnapshots(context, request, &reply); });
  if (!status.ok()) return status;
  std::vector<Snapshot> snapshots;
  for (const v1::Snapshot& snapshot : reply.snapshots()) snapshots.push_back(FromProto(snapshot));
  return snapshots;
}

// What an attempt without a reply did: the memory is in the wanted state, one epoch on. Nullopt: it is not.
std::optional<RestoreResult> DoneBefore(MemoryCore& core, const SnapshotName& name, uint64_t epoch,
                                        absl::Time deadline) {
  const absl::StatusOr<std::vector<Snapshot>> found = List(core, name.backup_folder, deadline);
  if (!found.ok()) return std::nullopt;
  for (const Snapshot& snapshot : *found) {
    if (name.token.has_value() ? snapshot.token != *name.token : snapshot.id != name.id) continue;
    v1::DescribeMemoryRequest request;
    v1::DescribeMemoryResponse reply;
    FillMemoryRef(core, {}, request.mutable_memory());
    if (!Call(core, Rpc{"DescribeMemory", &AdminStub::DescribeMemory}, request, deadline, &reply).ok()) {
      return std::nullopt;
    }
    const v1::MemoryDescription& now = reply.description();
    if (now.epoch() == epoch + 1 && now.step() == snapshot.token.step &&
        now.state_hash() == snapshot.token.state_hash) {
      return RestoreResult{.header = FromProto(reply.header()), .snapshot = snapshot, .changed = true};
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Snapshot> Memory::CreateSnapshot(const LongCallOptions& options) {
  const absl::StatusOr<absl::Time> deadline = core_->connection->LongDeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  const absl::StatusOr<std::vector<Snapshot>> before = List(*core_, std::nullopt, *deadline);
  if (!before.ok()) return before.status();
  std::set<std::string> known;
  for (const Snapshot& snapshot : *before) known.insert(snapshot.id);

  const LongRpc<v1::CreateSnapshotRequest, v1::CreateSnapshotResponse> rpc{"CreateSnapshot",
                                                                           &AdminStub::CreateSnapshot};
  v1::CreateSnapshotRequest request;
  v1::CreateSnapshotResponse last;
  FillMemoryRef(*core_, {}, request.mutable_memory());
  Connection::Report report;
  std::optional<Snapshot> made;  // by an attempt whose reply was lost
  absl::Status list_status;
  const absl::Status status = core_->connection->Run(
      absl::StrCat(rpc.name, " of ", Quoted(*core_)), *deadline,
      [&](Connection::Stubs& stubs, grpc::ClientContext* context) {
        if (report.outcome_unknown) {
          const absl::StatusOr<std::vector<Snapshot>> now = List(*core_, std::nullopt, *deadline);
          if (!now.ok()) {  // tried until the deadline, or refused: there is nothing to be repeated
            list_status = now.status();
            return grpc::Status(grpc::StatusCode::ABORTED, "the snapshots cannot be listed");
          }
          for (const Snapshot& snapshot : *now) {
            if (!snapshot.scheduled && !known.contains(snapshot.id)) made = snapshot;
          }
          if (made.has_value()) return grpc::Status::OK;
        }
        return ReadToEnd(rpc, stubs, context, request, options.progress, &last);
      },
      &report, Connection::AttemptTime::kAll);
  if (!list_status.ok()) return list_status;
  if (!status.ok()) return status;
  return made.has_value() ? *made : FromProto(last.snapshot());
}

absl::StatusOr<std::vector<Snapshot>> Memory::ListSnapshots(const std::optional<std::string>& backup_folder,
                                                            std::optional<absl::Duration> deadline) {
  const absl::StatusOr<absl::Time> end = core_->connection->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  return List(*core_, backup_folder, *end);
}

absl::StatusOr<Snapshot> Memory::VerifySnapshot(const SnapshotName& name, const LongCallOptions& options) {
  std::string id = name.id;
  if (name.token.has_value()) {  // the wire knows only ids here
    const auto listed = ListSnapshots(name.backup_folder);
    if (!listed.ok()) return listed.status();
    const auto it = std::find_if(listed->begin(), listed->end(), [&](const Snapshot& snapshot) {
      return snapshot.token == *name.token && (id.empty() || id == snapshot.id);
    });
    if (it == listed->end()) {
      absl::Status status = absl::NotFoundError(
          absl::StrCat("no snapshot of ", Quoted(*core_), " holds the state ", name.token->ToText()));
      ErrorDetails details;
      details.reason = "SNAPSHOT_NOT_FOUND";
      SetErrorDetails(details, &status);
      return status;
    }
    id = it->id;
  }
  v1::VerifySnapshotRequest request;
  v1::VerifySnapshotResponse last;
  FillMemoryRef(*core_, {}, request.mutable_memory());
  request.set_id(id);
  if (name.backup_folder.has_value()) request.set_backup_folder(*name.backup_folder);
  const absl::Status status = LongCall(*core_->connection,
                                       LongRpc<v1::VerifySnapshotRequest, v1::VerifySnapshotResponse>{
                                           "VerifySnapshot", &AdminStub::VerifySnapshot},
                                       Quoted(*core_), request, options, &last);
  if (!status.ok()) return status;
  return FromProto(last.snapshot());
}

absl::StatusOr<Snapshot> Memory::CopySnapshot(const std::string& id, const std::string& backup_folder,
                                              const LongCallOptions& options) {
  v1::CopySnapshotRequest request;
  v1::CopySnapshotResponse last;
  FillMemoryRef(*core_, {}, request.mutable_memory());
  request.set_id(id);
  request.set_backup_folder(backup_folder);
  const absl::Status status = LongCall(
      *core_->connection,
      LongRpc<v1::CopySnapshotRequest, v1::CopySnapshotResponse>{"CopySnapshot", &AdminStub::CopySnapshot},
      Quoted(*core_), request, options, &last);
  if (!status.ok()) return status;
  return FromProto(last.snapshot());
}

absl::StatusOr<bool> Memory::DeleteSnapshot(const std::string& id, std::optional<absl::Duration> deadline) {
  const absl::StatusOr<absl::Time> end = core_->connection->DeadlineAfter(deadline);
  if (!end.ok()) return end.status();
  v1::DeleteSnapshotRequest request;
  v1::DeleteSnapshotResponse reply;
  FillMemoryRef(*core_, {}, request.mutable_memory());
  request.set_id(id);
  const absl::Status status = core_->connection->Run(
      absl::StrCat("DeleteSnapshot of ", Quoted(*core_)), *end,
      [&](auto& stubs, auto* context) { return stubs.admin->DeleteSnapshot(context, request, &reply); });
  if (!status.ok()) return status;
  return reply.deleted();
}

absl::StatusOr<RestoreResult> Memory::RestoreSnapshot(const SnapshotName& name,
                                                      const LongCallOptions& options) {
  const absl::StatusOr<absl::Time> deadline = core_->connection->LongDeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  v1::RestoreSnapshotRequest request;
  v1::RestoreSnapshotResponse last;
  CallOptions required;
  // Required, so that a repeated request cannot rewind what others wrote after the first one was done. A
  // memory that is beyond reading tells no epoch, and nobody writes to it.
  v1::DescribeMemoryRequest describe;
  v1::DescribeMemoryResponse described;
  FillMemoryRef(*core_, {}, describe.mutable_memory());
  const absl::Status readable =
      Call(*core_, Rpc{"DescribeMemory", &AdminStub::DescribeMemory}, describe, *deadline, &described);
  if (readable.ok() && described.description().state() != v1::MEMORY_STATE_FAILED) {
    required.epoch = described.description().epoch();
  } else if (!readable.ok() && !absl::IsDataLoss(readable)) {
    return readable;
  }
  FillMemoryRef(*core_, required, request.mutable_memory());
  ToProto(name, &request);

  core_->sessions.Retire();
  Connection::Report report;
  const absl::Status status = LongCall(*core_->connection,
                                       LongRpc<v1::RestoreSnapshotRequest, v1::RestoreSnapshotResponse>{
                                           "RestoreSnapshot", &AdminStub::RestoreSnapshot},
                                       Quoted(*core_), request, options, &last, &report);
  if (status.ok()) {
    core_->SawTurn(last.header().turn());  // new sessions are opened after the restore
    return RestoreResult{.header = FromProto(last.header()),
                         .snapshot = FromProto(last.snapshot()),
                         .changed = last.changed()};
  }
  if (report.outcome_unknown && required.epoch.has_value() &&
      GetErrorDetails(status).reason == "STALE_MEMORY") {
    std::optional<RestoreResult> done = DoneBefore(*core_, name, *required.epoch, *deadline);
    if (done.has_value()) return *std::move(done);
  }
  ErrorDetails details = GetErrorDetails(status);
  details.outcome_unknown = report.outcome_unknown;
  absl::Status told = status;
  SetErrorDetails(details, &told);
  return told;
}

}  // namespace evoke::client
