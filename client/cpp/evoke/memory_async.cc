#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/async_call.h"
#include "evoke/convert.h"
#include "evoke/memory.h"

namespace evoke::client {
namespace {

template <typename Result>
struct Pending {
  Future<Result> future;
  Completion<Result> done;
};

template <typename Result>
Pending<Result> MakePending() {
  std::promise<absl::StatusOr<Result>> promise;
  Future<Result> future = promise.get_future();
  return {.future = std::move(future),
          .done = [promise = std::move(promise)](absl::StatusOr<Result> result) mutable {
            promise.set_value(std::move(result));
          }};
}

bool Writes(const QueryRequest&) {
  return false;
}
template <typename Request>
bool Writes(const Request& request) {
  return AnyRowWrites(request.embeddings.rows, request.write, request.skip);
}

template <typename Reply>
auto ResultOf(const Reply& reply, uint32_t key_dim) {
  if constexpr (std::is_same_v<Reply, v1::UpdateResponse>) {
    return FromProto(reply);
  } else {
    return FromProto(reply, key_dim);
  }
}

// Everything that can be refused before it is sent; OK: it is underway.
template <typename Proto, typename Reply, typename Request, typename Done>
absl::Status TryStart(const std::shared_ptr<MemoryCore>& core,
                      const AsyncRpc<AsyncMemoryStub, Proto, Reply>& rpc, const Request& request,
                      const CallOptions& options, absl::Time deadline, InFlight::Ticket& ticket, Done& done) {
  Proto proto;
  if (absl::Status status = ToProto(request, &proto); !status.ok()) return status;
  FillMemoryRef(*core, options, proto.mutable_memory());
  if (core->connection->clock().Now() >= deadline) {
    return absl::DeadlineExceededError(absl::StrCat(CallName(*core, rpc.name),
                                                    " waited for its place among the calls underway until its "
                                                    "deadline; it was not sent"));
  }
  std::optional<NumberedMutation> mutation;
  if (Writes(request)) {
    absl::StatusOr<NumberedMutation> begun = NumberedMutation::Begin(*core, rpc.name, options);
    if (!begun.ok()) return begun.status();
    mutation.emplace(*std::move(begun));
  } else if (absl::Status status = NothingToResume(*core, rpc.name, options); !status.ok()) {
    return status;
  }
  auto then = [core, done = std::move(done)](const absl::Status& status, Reply& reply) mutable {
    if (status.ok()) {
      done(ResultOf(reply, core->key_dim));
    } else {
      done(status);
    }
  };
  std::make_shared<AsyncCall<AsyncMemoryStub, Proto, Reply>>(std::move(ticket), core, rpc, std::move(proto),
                                                             deadline, std::move(mutation), std::move(then))
      ->Start();
  return absl::OkStatus();
}

template <typename Proto, typename Reply, typename Request, typename Done>
void StartCall(std::shared_ptr<MemoryCore> core, const AsyncRpc<AsyncMemoryStub, Proto, Reply>& rpc,
               const Request& request, const CallOptions& options, Done done) {
  const absl::StatusOr<absl::Time> deadline = core->connection->DeadlineAfter(options.deadline);
  InFlight::Ticket ticket = InFlight::Enter(core->connection->in_flight());
  const absl::Status status =
      deadline.ok() ? TryStart(core, rpc, request, options, *deadline, ticket, done) : deadline.status();
  if (status.ok()) return;
  CompletionScope scope;
  done(status);
}

// Which of the overloads that the generated stub has.
template <typename Proto, typename Reply>
AsyncRpc<AsyncMemoryStub, Proto, Reply> Named(
    absl::string_view name, void (AsyncMemoryStub::*method)(grpc::ClientContext*, const Proto*, Reply*,
                                                            std::function<void(grpc::Status)>)) {
  return {name, method};
}

}  // namespace

void Memory::QueryAsync(const QueryRequest& request, Completion<QueryResult> done, const CallOptions& options) {
  StartCall(core_, Named<v1::QueryRequest, v1::QueryResponse>("Query", &AsyncMemoryStub::Query), request, options,
            std::move(done));
}

Future<QueryResult> Memory::QueryAsync(const QueryRequest& request, const CallOptions& options) {
  Pending<QueryResult> pending = MakePending<QueryResult>();
  QueryAsync(request, std::move(pending.done), options);
  return std::move(pending.future);
}

void Memory::UpdateAsync(const UpdateRequest& request, Completion<UpdateResult> done,
                         const CallOptions& options) {
  StartCall(core_, Named<v1::UpdateRequest, v1::UpdateResponse>("Update", &AsyncMemoryStub::Update), request,
            options, std::move(done));
}

Future<UpdateResult> Memory::UpdateAsync(const UpdateRequest& request, const CallOptions& options) {
  Pending<UpdateResult> pending = MakePending<UpdateResult>();
  UpdateAsync(request, std::move(pending.done), options);
  return std::move(pending.future);
}

void Memory::TrainStepAsync(const TrainStepRequest& request, Completion<TrainStepResult> done,
                            const CallOptions& options) {
  StartCall(core_, Named<v1::TrainStepRequest, v1::TrainStepResponse>("TrainStep", &AsyncMemoryStub::TrainStep),
            request, options, std::move(done));
}

Future<TrainStepResult> Memory::TrainStepAsync(const TrainStepRequest& request, const CallOptions& options) {
  Pending<TrainStepResult> pending = MakePending<TrainStepResult>();
  TrainStepAsync(request, std::move(pending.done), options);
  return std::move(pending.future);
}

}  // namespace evoke::client
