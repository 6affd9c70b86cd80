// The methods of AdminService that copy whole memories: fork and snapshots. All of them run on threads that may block.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/admin_service.h"
#include "server/service/convert_admin.h"
#include "server/service/convert_snapshot.h"
#include "server/service/resolve.h"
#include "server/service/stream_call.h"
#include "server/service/unary_call.h"

namespace evoke {
namespace {

constexpr Method kForkMemory{"AdminService/ForkMemory", true};
constexpr Method kCreateSnapshot{"AdminService/CreateSnapshot"};
constexpr Method kListSnapshots{"AdminService/ListSnapshots"};
constexpr Method kVerifySnapshot{"AdminService/VerifySnapshot"};
constexpr Method kRestoreSnapshot{"AdminService/RestoreSnapshot", true};
constexpr Method kDeleteSnapshot{"AdminService/DeleteSnapshot"};
constexpr Method kCopySnapshot{"AdminService/CopySnapshot"};

constexpr absl::Duration kTellEvery = absl::Milliseconds(200);

// Tells the client where the work stands, a few times a second, and the work when nobody listens any more.
template <typename Response>
Snapshots::Progress TellTo(StreamCall* rpc) {
  return [rpc, told = absl::InfinitePast()](const char* phase, uint64_t done, uint64_t total) mutable {
    if (!rpc->GoingOn().ok()) return false;
    const absl::Time now = absl::Now();
    if (now < told + kTellEvery) return true;
    told = now;
    Response response;
    response.mutable_progress()->set_phase(phase);
    response.mutable_progress()->set_done(done);
    response.mutable_progress()->set_total(total);
    return rpc->Send(response).ok();
  };
}

Snapshots::Place PlaceOf(const ResolvedMemory& memory) {
  Snapshots::Place place{.memory = memory.executor};
  if (memory.requirement.epoch) place.epoch = Epoch(*memory.requirement.epoch);
  return place;
}

// The place that a request names, in a backup folder perhaps of a memory that is no more.
template <typename Request>
absl::StatusOr<Snapshots::Place> PlaceOf(const ServiceContext& shared, const Request& request) {
  Snapshots::Place place;
  if (request.has_backup_folder()) place.backup_folder = request.backup_folder();
  if (!place.backup_folder || !request.memory().name().empty()) {
    EVOKE_ASSIGN_OR_RETURN(ResolvedMemory memory, Resolve(shared, request.memory()));
    place.memory = std::move(memory.executor);
    if (memory.requirement.epoch) place.epoch = Epoch(*memory.requirement.epoch);
  }
  return place;
}

// In a backup folder lie snapshots of all memories: whoever reads one must be allowed to name its memory.
absl::Status MayRead(const Principal& principal, const SnapshotManifest& manifest) {
  return AuthorizeMemory(principal, manifest.memory);
}

template <typename Response>
absl::Status SendSnapshot(StreamCall* rpc, const absl::StatusOr<SnapshotManifest>& manifest) {
  if (!manifest.ok()) return manifest.status();
  Response response;
  EVOKE_ASSIGN_OR_RETURN(*response.mutable_snapshot(), ToProto(*manifest));
  return rpc->Send(response);
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ForkMemory(grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
                                                   grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kForkMemory, shared_, context, reply);
  v1::ForkMemoryRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  absl::StatusOr<MemoryUid> uid = ToUid("uid", request.uid());
  absl::Status status = !memory.ok() ? memory.status() : uid.status();
  if (status.ok() && !IsValidMemoryName(request.name())) status = BadName("name");
  if (!status.ok()) {
    rpc->Refuse(status);
    return rpc;
  }
  shared_->long_calls->Post([rpc, shared = shared_, from = PlaceOf(*memory), name = request.name(), uid = *uid] {
    if (shared->draining.load()) return rpc->Refuse(DrainingError());
    const absl::StatusOr<Snapshots::Forked> forked = shared->snapshots->Fork(from, name, uid);
    if (!forked.ok()) return rpc->Fail(forked.status());
    v1::ForkMemoryResponse response;
    *response.mutable_header() = ToHeader(ToStateName(forked->memory->figures()), shared->instance);
    *response.mutable_origin() = ToProto(forked->origin);
    rpc->Reply(response);
  });
  return rpc;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::CreateSnapshot(grpc::CallbackServerContext* context,
                                                                         const grpc::ByteBuffer* bytes) {
  auto* rpc = new StreamCall(kCreateSnapshot, shared_, context);
  v1::CreateSnapshotRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  rpc->Run([rpc, shared = shared_, of = PlaceOf(*memory)] {
    return SendSnapshot<v1::CreateSnapshotResponse>(
        rpc, shared->snapshots->Create(of, /*scheduled=*/false, TellTo<v1::CreateSnapshotResponse>(rpc)));
  });
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::ListSnapshots(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kListSnapshots, shared_, context, reply);
  v1::ListSnapshotsRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<Snapshots::Place> place = PlaceOf(*shared_, request);
  if (!place.ok()) {
    rpc->Refuse(place.status());
    return rpc;
  }
  shared_->long_calls->Post([rpc, shared = shared_, place = *place] {
    const absl::StatusOr<std::vector<SnapshotManifest>> found = shared->snapshots->List(place);
    if (!found.ok()) return rpc->Fail(found.status());
    v1::ListSnapshotsResponse response;
    for (const SnapshotManifest& manifest : *found) {
      if (!MayRead(rpc->principal(), manifest).ok()) continue;
      // One whose spec this program cannot read is not hidden, only told of less.
      absl::StatusOr<v1::Snapshot> snapshot = ToProto(manifest);
      if (snapshot.ok()) *response.add_snapshots() = *std::move(snapshot);
    }
    rpc->Reply(response);
  });
  return rpc;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::VerifySnapshot(grpc::CallbackServerContext* context,
                                                                         const grpc::ByteBuffer* bytes) {
  auto* rpc = new StreamCall(kVerifySnapshot, shared_, context);
  v1::VerifySnapshotRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<Snapshots::Place> place = PlaceOf(*shared_, request);
  if (!place.ok()) {
    rpc->Refuse(place.status());
    return rpc;
  }
  rpc->Run([rpc, shared = shared_, place = *place, id = request.id()]() -> absl::Status {
    EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, shared->snapshots->Find(place, {.id = id}));
    EVOKE_RETURN_IF_ERROR(MayRead(rpc->principal(), manifest));
    return SendSnapshot<v1::VerifySnapshotResponse>(
        rpc, shared->snapshots->Verify(place, id, TellTo<v1::VerifySnapshotResponse>(rpc)));
  });
  return rpc;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::RestoreSnapshot(grpc::CallbackServerContext* context,
                                                                          const grpc::ByteBuffer* bytes) {
  auto* rpc = new StreamCall(kRestoreSnapshot, shared_, context);
  v1::RestoreSnapshotRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<Snapshots::Place> place = PlaceOf(*shared_, request);
  absl::StatusOr<MemoryUid> new_uid = ToUid("new_uid", request.new_uid());
  absl::StatusOr<Snapshots::Which> which = ToWhich(request);
  absl::Status status = !place.ok() ? place.status() : !new_uid.ok() ? new_uid.status() : which.status();
  if (status.ok() && !request.new_name().empty() && !IsValidMemoryName(request.new_name())) status = BadName("new_name");
  if (status.ok() && shared_->draining.load()) status = DrainingError();
  if (!status.ok()) {
    rpc->Refuse(status);
    return rpc;
  }
  rpc->Run([rpc, shared = shared_, place = *place, which = *which, name = request.new_name(),
            uid = *new_uid]() -> absl::Status {
    EVOKE_ASSIGN_OR_RETURN(const SnapshotManifest manifest, shared->snapshots->Find(place, which));
    EVOKE_RETURN_IF_ERROR(MayRead(rpc->principal(), manifest));
    const auto tell = TellTo<v1::RestoreSnapshotResponse>(rpc);
    EVOKE_ASSIGN_OR_RETURN(const Snapshots::Restored restored,
                           name.empty() ? shared->snapshots->Restore(place, which, tell)
                                        : shared->snapshots->RestoreAs(place, which, name, uid, tell));
    v1::RestoreSnapshotResponse response;
    EVOKE_ASSIGN_OR_RETURN(*response.mutable_snapshot(), ToProto(restored.manifest));
    *response.mutable_header() = ToHeader(ToStateName(restored.memory->figures()), shared->instance);
    response.set_changed(restored.changed);
    return rpc->Send(response);
  });
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::DeleteSnapshot(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kDeleteSnapshot, shared_, context, reply);
  v1::DeleteSnapshotRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  shared_->long_calls->Post([rpc, shared = shared_, memory = memory->executor, id = request.id()] {
    // A trainer clears up behind its own checkpoints; what the schedule made is there in case the trainer is wrong.
    const absl::StatusOr<SnapshotManifest> manifest = shared->snapshots->Find({memory}, {.id = id});
    if (manifest.ok() && manifest->scheduled && rpc->principal().role < Role::kAdmin) {
      return rpc->Fail(MakeError(absl::StatusCode::kPermissionDenied,
                                 absl::StrCat("snapshot ", id, " was made by the schedule: only an admin deletes it"),
                                 {.reason = "PERMISSION_DENIED"}));
    }
    const absl::StatusOr<bool> deleted = shared->snapshots->Delete(memory, id);
    if (!deleted.ok()) return rpc->Fail(deleted.status());
    v1::DeleteSnapshotResponse response;
    response.set_deleted(*deleted);
    rpc->Reply(response);
  });
  return rpc;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AdminService::CopySnapshot(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* bytes) {
  auto* rpc = new StreamCall(kCopySnapshot, shared_, context);
  v1::CopySnapshotRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  rpc->Run([rpc, shared = shared_, memory = memory->executor, id = request.id(), folder = request.backup_folder()] {
    return SendSnapshot<v1::CopySnapshotResponse>(
        rpc, shared->snapshots->Copy({memory}, id, folder, TellTo<v1::CopySnapshotResponse>(rpc)));
  });
  return rpc;
}

}  // namespace evoke
