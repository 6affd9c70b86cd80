#include "server/service/admin_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/service/convert_admin.h"
#include "server/service/convert_observe.h"
#include "server/service/listen.h"
#include "server/service/resolve.h"
#include "server/service/unary_call.h"

namespace evoke {
namespace {

constexpr Method kCreateMemory{"AdminService/CreateMemory", true};
constexpr Method kDescribeMemory{"AdminService/DescribeMemory"};
constexpr Method kListMemories{"AdminService/ListMemories"};
constexpr Method kClearMemory{"AdminService/ClearMemory", true};
constexpr Method kDeleteMemory{"AdminService/DeleteMemory", true};
constexpr Method kStateHash{"AdminService/StateHash"};
constexpr Method kStatus{"AdminService/Status"};

// What a memory that is still loading, or could not be recovered, can say of itself without a turn.
bool IsInspectable(MemoryState state) {
  return state != MemoryState::kLoading && state != MemoryState::kFailed;
}

v1::Limits ToLimits(const ServiceContext& shared) {
  v1::Limits limits;
  limits.set_max_message_bytes(shared.limits->max_message_bytes);
  limits.set_max_rows(shared.limits->max_rows);
  limits.set_max_k(shared.limits->max_k);
  limits.set_max_payload_bytes(kMaxPayloadBytes);
  limits.set_mailbox_rows(shared.engine.mailbox_rows);
  limits.set_max_unacknowledged(shared.engine.max_unacknowledged);
  limits.set_max_sessions(shared.engine.max_sessions);
  limits.set_max_memories(shared.max_memories);
  limits.set_mailbox_bytes(shared.engine.mailbox_bytes);
  limits.set_max_turn_rows(shared.engine.max_turn_rows);
  const Catalog::Budget budget = shared.catalog->budget();
  limits.set_memory_budget_bytes(budget.bytes);
  limits.set_memory_planned_bytes(budget.planned);
  limits.set_max_open_exports(shared.max_open_exports);
  limits.set_max_metadata_bytes(kMaxMetadataBytes);
  return limits;
}

// Those that the caller may name; it does not learn of others.
void AddMemories(const ServiceContext& shared, const Principal& principal,
                 google::protobuf::RepeatedPtrField<v1::MemoryDescription>* memories) {
  for (const auto& executor : shared.catalog->List()) {
    if (principal.MayName(executor->name())) *memories->Add() = ToProto(executor->figures());
  }
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::CreateMemory(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kCreateMemory, shared_, context, reply);
  v1::CreateMemoryRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  if (!IsValidMemoryName(request.name()) && !(request.dry_run() && request.name().empty())) {
    rpc->Refuse(BadArgument(
        "name", "name must be 1 to 128 of letters, digits, '.', '_', '-', not beginning with '.' or '-'"));
    return rpc;
  }
  absl::StatusOr<MemoryUid> uid = ToUid("uid", request.uid());
  absl::StatusOr<MemorySpec> spec = ToSpec(request.spec());
  if (!uid.ok() || !spec.ok()) {
    rpc->Refuse(!uid.ok() ? uid.status()
                          : Annotate(spec.status(), absl::StrCat("spec of memory \"", request.name(), "\"")));
    return rpc;
  }
  if (request.dry_run()) {
    v1::CreateMemoryResponse response;
    *response.mutable_spec() = ToProto(*spec);
    *response.mutable_plan() = ToProto(shared_->catalog->Plan(*spec), shared_->catalog->budget());
    rpc->Reply(response);
    return rpc;
  }
  shared_->admin->Post([rpc, shared = shared_, name = request.name(), spec = *spec, uid = *uid,
                        if_not_exists = request.if_not_exists()] {
    if (shared->draining.load()) return rpc->Refuse(DrainingError());
    if (const absl::Status over = rpc->WhyOver(); !over.ok()) return rpc->Refuse(over);
    absl::StatusOr<Catalog::Created> created = shared->catalog->Create(name, spec, uid, if_not_exists);
    if (!created.ok()) return rpc->Fail(created.status());
    v1::CreateMemoryResponse response;
    *response.mutable_header() = ToHeader(ToStateName(created->executor->figures()), shared->instance);
    *response.mutable_spec() = ToProto(created->executor->spec());
    response.set_created(created->created);
    rpc->Reply(response);
  });
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::DescribeMemory(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* bytes,
                                                       grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kDescribeMemory, shared_, context, reply);
  v1::DescribeMemoryRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  const MemoryFigures figures = memory->executor->figures();
  if (!IsInspectable(figures.state)) {
    v1::DescribeMemoryResponse response;
    *response.mutable_header() = ToHeader(ToStateName(figures), shared_->instance);
    *response.mutable_description() = ToProto(figures);
    rpc->Reply(response);
    return rpc;
  }
  InspectCall call{[rpc, shared = shared_, executor = memory->executor](absl::StatusOr<InspectReply> answer) {
    if (!answer.ok()) return rpc->Fail(answer.status());
    v1::DescribeMemoryResponse response;
    *response.mutable_header() = ToHeader(answer->state, shared->instance);
    *response.mutable_description() = ToProto(executor->figures(), *answer);
    rpc->Reply(response);
  }};
  SubmitCall(*memory, *rpc, std::move(call));
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::ListMemories(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kListMemories, shared_, context, reply);
  v1::ListMemoriesRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  v1::ListMemoriesResponse response;
  AddMemories(*shared_, rpc->principal(), response.mutable_memories());
  rpc->Reply(response);
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::ClearMemory(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kClearMemory, shared_, context, reply);
  v1::ClearMemoryRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  absl::StatusOr<ClearCall> call = shared_->draining.load() ? DrainingError() : ToClearCall(request);
  if (!call.ok()) {
    rpc->Refuse(call.status(), memory->executor->name());
    return rpc;
  }
  call->done = [rpc](absl::StatusOr<std::string> stored) {
    if (!stored.ok()) return rpc->Fail(stored.status());
    rpc->ReplyStored(*std::move(stored));
  };
  SubmitCall(*memory, *rpc, *std::move(call));
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::DeleteMemory(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kDeleteMemory, shared_, context, reply);
  v1::DeleteMemoryRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<MemoryUid> uid = ToUid("uid", request.uid());
  if (request.name().empty()) uid = BadArgument("name", "name is empty, a memory must be named");
  if (!uid.ok()) {
    rpc->Refuse(uid.status());
    return rpc;
  }
  shared_->admin->Post([rpc, shared = shared_, name = request.name(), uid = *uid] {
    if (shared->draining.load()) return rpc->Refuse(DrainingError());
    if (const absl::Status over = rpc->WhyOver(); !over.ok()) return rpc->Refuse(over);
    absl::StatusOr<MemoryUid> deleted = shared->catalog->Delete(name, uid);
    if (!deleted.ok()) return rpc->Fail(deleted.status());
    v1::DeleteMemoryResponse response;
    response.set_deleted(!deleted->IsZero());
    if (!deleted->IsZero()) response.set_uid(deleted->View().data(), deleted->View().size());
    rpc->Reply(response);
  });
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::StateHash(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kStateHash, shared_, context, reply);
  v1::StateHashRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  absl::StatusOr<ResolvedMemory> memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  InspectCall call{[rpc, shared = shared_](absl::StatusOr<InspectReply> answer) {
    if (!answer.ok()) return rpc->Fail(answer.status());
    v1::StateHashResponse response;
    *response.mutable_header() = ToHeader(answer->state, shared->instance);
    response.set_state_hash(answer->state_hash.ToString());
    response.set_live_slots(answer->live_count);
    rpc->Reply(response);
  }};
  SubmitCall(*memory, *rpc, std::move(call));
  return rpc;
}

grpc::ServerUnaryReactor* AdminService::Status(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* bytes, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kStatus, shared_, context, reply);
  v1::StatusRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  v1::StatusResponse response;
  response.set_version(shared_->version);
  response.set_instance(shared_->instance);
  response.set_state(shared_->draining.load()      ? v1::SERVER_STATE_DRAINING
                     : shared_->catalog->loading() ? v1::SERVER_STATE_LOADING
                                                   : v1::SERVER_STATE_SERVING);
  response.set_uptime_seconds(absl::ToDoubleSeconds(absl::Now() - shared_->started));
  response.set_simd(shared_->simd);
  response.set_arithmetic_fingerprint(absl::StrFormat("%016x", shared_->arithmetic_fingerprint));
  *response.mutable_limits() = ToLimits(*shared_);
  AddMemories(*shared_, rpc->principal(), response.mutable_memories());
  for (const Alarm& alarm : shared_->alarms ? shared_->alarms->Active() : std::vector<Alarm>()) {
    if (!alarm.memory.empty() && !rpc->principal().MayName(alarm.memory)) continue;
    v1::Alarm* to = response.add_alarms();
    to->set_name(alarm.name);
    to->set_memory(alarm.memory);
    to->set_message(alarm.message);
    to->set_active_seconds(absl::ToDoubleSeconds(absl::Now() - alarm.since));
  }
  rpc->Reply(response);
  return rpc;
}

}  // namespace evoke
