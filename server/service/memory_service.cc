#include "server/service/memory_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/engine/memory_content.h"
#include "server/service/convert_admin.h"
#include "server/service/convert_import.h"
#include "server/service/convert_observe.h"
#include "server/service/convert_query.h"
#include "server/service/resolve.h"
#include "server/service/stream_call.h"
#include "server/service/train_stream.h"
#include "server/service/unary_call.h"

namespace evoke {
namespace {

constexpr Method kQuery{"MemoryService/Query"};
constexpr Method kUpdate{"MemoryService/Update", true};
constexpr Method kTrainStep{"MemoryService/TrainStep", true};
constexpr Method kTrainStream{"MemoryService/TrainStream", true};
constexpr Method kGetSlots{"MemoryService/GetSlots"};
constexpr Method kImport{"MemoryService/Import", true};
constexpr Method kExport{"MemoryService/Export"};

// Replies of reads are made from what the engine answered.
template <typename Answer>
auto ReplyWith(UnaryCall* rpc, const ServiceContext* shared) {
  return [rpc, shared](absl::StatusOr<Answer> answer) {
    if (!answer.ok()) return rpc->Fail(answer.status());
    rpc->Reply(ToResponse(*answer, shared->instance));
  };
}

// Parses a Request, resolves its memory, converts it by `to_call(request, target)` and submits it with
// `done`.
template <typename Request, typename ToCall, typename Done>
grpc::ServerUnaryReactor* Handle(UnaryCall* rpc, ServiceContext* shared, const grpc::ByteBuffer& bytes,
                                 ToCall to_call, Done done) {
  Request request;
  if (!rpc->Parse(bytes, &request)) return rpc;
  auto memory = Resolve(*shared, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  const Executor& executor = *memory->executor;
  auto call = to_call(std::move(request), Target{executor.name(), executor.spec(), *shared->limits});
  if (!call.ok()) {
    rpc->Refuse(call.status(), executor.name());
    return rpc;
  }
  call->done = std::move(done);
  SubmitCall(*memory, *rpc, *std::move(call));
  return rpc;
}

// Sends a whole memory, chunk by chunk.
absl::Status SendExport(StreamCall* rpc, const ServiceContext& shared, const ResolvedMemory& memory,
                        const v1::ExportRequest& request) {
  Executor& executor = *memory.executor;
  EVOKE_ASSIGN_OR_RETURN(const auto content,
                         MemoryContent::Open(executor, {.after_step = request.after_step(),
                                                        .payloads = !request.without_payloads(),
                                                        .epoch = memory.requirement.epoch,
                                                        .min_turn = memory.requirement.min_turn,
                                                        .deadline = rpc->deadline()}));
  const uint64_t turn = content->state().turn.value;
  if (request.has_required_turn() && request.required_turn() != turn) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     absl::StrCat("memory \"", executor.name(), "\" is at turn ", turn, ", the export was of turn ",
                                  request.required_turn()),
                     {.reason = "EXPORT_CHANGED", .metadata = {{"turn", absl::StrCat(turn)}}});
  }
  v1::ExportResponse first;
  *first.mutable_header() = ToHeader(content->state(), shared.instance);
  *first.mutable_spec() = ToProto(executor.spec());
  first.set_state_hash(content->state_hash().ToString());
  first.set_live_slots(content->live_count());
  first.set_rows_to_come(content->rows());
  EVOKE_RETURN_IF_ERROR(rpc->Send(first));
  const uint32_t chunk = ChunkRows(request.chunk_rows(), executor.spec(), shared.limits->max_message_bytes);
  while (true) {
    EVOKE_ASSIGN_OR_RETURN(std::vector<ImportRow> rows, content->Next(chunk));
    if (rows.empty()) return absl::OkStatus();
    v1::ExportResponse response;
    *response.mutable_slots() = ToProto(std::move(rows));
    EVOKE_RETURN_IF_ERROR(rpc->Send(response));
  }
}

// Update and TrainStep: the reply is what was stored.
template <typename Request>
grpc::ServerUnaryReactor* HandleObserve(const Method& method, ServiceContext* shared,
                                        grpc::CallbackServerContext* context, const grpc::ByteBuffer& bytes,
                                        grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(method, shared, context, reply);
  auto to_call = [shared](Request&& request, const Target& target) -> absl::StatusOr<ObserveCall> {
    absl::StatusOr<ObserveCall> call = ToObserveCall(std::move(request), target);
    if (call.ok() && call->writes() && shared->draining.load()) return DrainingError();
    return call;
  };
  return Handle<Request>(rpc, shared, bytes, to_call, [rpc](absl::StatusOr<std::string> stored) {
    if (!stored.ok()) return rpc->Fail(stored.status());
    rpc->ReplyStored(*std::move(stored));
  });
}

}  // namespace

grpc::ServerUnaryReactor* MemoryService::Query(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kQuery, shared_, context, reply);
  return Handle<v1::QueryRequest>(rpc, shared_, *request, ToQueryCall, ReplyWith<QueryReply>(rpc, shared_));
}

grpc::ServerUnaryReactor* MemoryService::Update(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  return HandleObserve<v1::UpdateRequest>(kUpdate, shared_, context, *request, reply);
}

grpc::ServerUnaryReactor* MemoryService::TrainStep(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  return HandleObserve<v1::TrainStepRequest>(kTrainStep, shared_, context, *request, reply);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* MemoryService::TrainStream(
    grpc::CallbackServerContext* context) {
  return new class TrainStream(kTrainStream, shared_, context);
}

grpc::ServerUnaryReactor* MemoryService::GetSlots(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kGetSlots, shared_, context, reply);
  return Handle<v1::GetSlotsRequest>(rpc, shared_, *request, ToSlotsCall,
                                     ReplyWith<SlotsReply>(rpc, shared_));
}

grpc::ServerUnaryReactor* MemoryService::Import(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kImport, shared_, context, reply);
  auto to_call = [shared = shared_](v1::ImportRequest&& r, const Target& target) -> absl::StatusOr<ImportCall> {
    if (shared->draining.load()) return DrainingError();
    return ToImportCall(std::move(r), target);
  };
  return Handle<v1::ImportRequest>(rpc, shared_, *request, to_call, [rpc](absl::StatusOr<std::string> stored) {
    if (!stored.ok()) return rpc->Fail(stored.status());
    rpc->ReplyStored(*std::move(stored));
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* MemoryService::Export(grpc::CallbackServerContext* context,
                                                                  const grpc::ByteBuffer* bytes) {
  auto* rpc = new StreamCall(kExport, shared_, context);
  v1::ExportRequest request;
  if (!rpc->Parse(*bytes, &request)) return rpc;
  auto memory = Resolve(*shared_, request.memory());
  if (!memory.ok()) {
    rpc->Refuse(memory.status());
    return rpc;
  }
  rpc->Run([rpc, shared = shared_, memory = *std::move(memory), request = std::move(request)] {
    return SendExport(rpc, *shared, memory, request);
  });
  return rpc;
}

}  // namespace evoke
