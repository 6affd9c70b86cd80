#include "server/service/memory_service.h"

#include <utility>

#include "server/service/convert_observe.h"
#include "server/service/convert_query.h"
#include "server/service/resolve.h"
#include "server/service/unary_call.h"

namespace evoke {
namespace {

constexpr Method kQuery{"MemoryService/Query"};
constexpr Method kUpdate{"MemoryService/Update", true};
constexpr Method kTrainStep{"MemoryService/TrainStep", true};
constexpr Method kGetSlots{"MemoryService/GetSlots"};

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

grpc::ServerUnaryReactor* MemoryService::GetSlots(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  auto* rpc = new UnaryCall(kGetSlots, shared_, context, reply);
  return Handle<v1::GetSlotsRequest>(rpc, shared_, *request, ToSlotsCall,
                                     ReplyWith<SlotsReply>(rpc, shared_));
}

}  // namespace evoke
