#include "evoke/memory.h"

#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/convert.h"
#include "evoke/memory_core.h"

namespace evoke::client {
namespace {

using MemoryStub = v1::MemoryService::Stub;
using AdminStub = v1::AdminService::Stub;

// New sessions that one call opens because the server forgot the one before. A server that forgets two in a
// row, each opened after a turn just read, is overrun by clients; the caller should hear of it.
constexpr int kMaxReopens = 2;

// A unary method of a stub, and what errors call it.
template <typename Stub, typename Request, typename Reply>
struct Rpc {
  absl::string_view name;
  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*);
};

template <typename Stub, typename Request, typename Reply>
absl::Status Call(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, const Request& request,
                  absl::Time deadline, Reply* reply, Connection::Report* report = nullptr) {
  const absl::Status status = core.connection->Run(
      absl::StrCat(rpc.name, " of memory \"", core.name, "\""), deadline,
      [&](Connection::Stubs& stubs, grpc::ClientContext* context) {
        reply->Clear();
        if constexpr (std::is_same_v<Stub, MemoryStub>) {
          return ((*stubs.memory).*rpc.method)(context, request, reply);
        } else {
          return ((*stubs.admin).*rpc.method)(context, request, reply);
        }
      },
      report);
  if (status.ok()) core.SawTurn(reply->header().turn());
  return status;
}

void FillMemoryRef(const MemoryCore& core, const CallOptions& options, v1::MemoryRef* ref) {
  ref->set_name(core.name);
  ref->set_uid(core.uid.ToBytes());
  if (options.epoch.has_value()) ref->set_epoch(*options.epoch);
  if (options.min_turn.has_value()) ref->set_min_turn(*options.min_turn);
}

template <typename Stub, typename Request, typename Reply>
absl::Status Read(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, Request& request,
                  const CallOptions& options, Reply* reply) {
  if (options.resume.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(rpc.name, " of memory \"", core.name,
                                                   "\" changes nothing, so there is nothing to resume"));
  }
  const absl::StatusOr<absl::Time> deadline = core.connection->DeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  FillMemoryRef(core, options, request.mutable_memory());
  return Call(core, rpc, request, *deadline, reply);
}

// Learns a turn that no session can have been forgotten after, but for those forgotten from now on.
absl::Status RefreshTurn(MemoryCore& core, absl::Time deadline) {
  v1::DescribeMemoryRequest request;
  v1::DescribeMemoryResponse reply;
  FillMemoryRef(core, {}, request.mutable_memory());
  const absl::Status status =
      Call(core, Rpc{"DescribeMemory", &AdminStub::DescribeMemory}, request, deadline, &reply);
  if (status.ok()) core.SawTurn(reply.description().turn());
  return status;
}

// Gives the session back as the final error demands, and adds to the error what the caller must know.
absl::Status SettleError(absl::Status status, bool outcome_unknown, SessionPool::Lease& lease) {
  ErrorDetails details = GetErrorDetails(status);
  const MutationId id = lease.id();
  if (details.reason == "SESSION_UNKNOWN") {
    details.outcome_unknown = outcome_unknown;  // for ever: the record that could tell is gone
    lease.Forget();
  } else if (details.reason == "STEP_OUT_OF_ORDER" || details.reason == "STEP_TOO_OLD" ||
             details.reason == "STEP_REUSED") {
    lease.Forget();  // these three say themselves what became of the number
  } else if (outcome_unknown) {
    details.outcome_unknown = true;
    details.mutation = id;
    lease.Unknown();
  } else {
    lease.Refused();
  }
  SetErrorDetails(details, &status);
  return status;
}

template <typename Stub, typename Request, typename Reply>
absl::Status Mutate(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, Request& request,
                    const CallOptions& options, Reply* reply) {
  const absl::StatusOr<absl::Time> deadline = core.connection->DeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  FillMemoryRef(core, options, request.mutable_memory());

  std::optional<SessionPool::Lease> lease =
      options.resume.has_value() ? core.sessions.Resume(*options.resume)
                                 : core.sessions.Take(core.turn_seen.load(std::memory_order_relaxed));
  if (!lease.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("mutation ", options.resume->number, " of session ",
                                                   options.resume->session.ToHex(), " of memory \"",
                                                   core.name, "\" is not held by this client"));
  }
  // Once an attempt's outcome is unknown, no later refusal makes it known: the refused attempt was another
  // one.
  Connection::Report report{.outcome_unknown = options.resume.has_value()};
  for (int reopens = 0;; ++reopens) {
    v1::Mutation* mutation = request.mutable_mutation();
    mutation->set_session(lease->id().session.ToBytes());
    mutation->set_number(lease->id().number);
    mutation->set_first_unacknowledged(lease->first_unacknowledged());
    mutation->set_opened_after(lease->id().number == 1 ? lease->opened_after() : 0);

    const absl::Status status = Call(core, rpc, request, *deadline, reply, &report);
    if (status.ok()) {
      lease->Applied();
      return status;
    }
    // Every attempt was refused, so the number was surely not applied and another session may offer the same
    // body.
    const bool forgotten = GetErrorDetails(status).reason == "SESSION_UNKNOWN";
    if (!forgotten || report.outcome_unknown || reopens == kMaxReopens) {
      return SettleError(status, report.outcome_unknown, *lease);
    }
    lease->Forget();
    if (absl::Status refreshed = RefreshTurn(core, *deadline); !refreshed.ok()) return refreshed;
    lease = core.sessions.Open(core.turn_seen.load(std::memory_order_relaxed));
  }
}

// Update and TrainStep: a mutation if any row writes, else a read.
template <typename Stub, typename Proto, typename Request, typename Reply>
absl::Status Observe(MemoryCore& core, const Rpc<Stub, Proto, Reply>& rpc, const Request& request,
                     const CallOptions& options, Reply* reply) {
  Proto proto;
  if (absl::Status status = ToProto(request, &proto); !status.ok()) return status;
  return AnyRowWrites(request.embeddings.rows, request.write, request.skip)
             ? Mutate(core, rpc, proto, options, reply)
             : Read(core, rpc, proto, options, reply);
}

}  // namespace

const std::string& Memory::name() const {
  return core_->name;
}
const Id128& Memory::uid() const {
  return core_->uid;
}
uint32_t Memory::key_dim() const {
  return core_->key_dim;
}

absl::StatusOr<QueryResult> Memory::Query(const QueryRequest& request, const CallOptions& options) {
  v1::QueryRequest proto;
  v1::QueryResponse reply;
  absl::Status status = ToProto(request, &proto);
  if (status.ok()) status = Read(*core_, Rpc{"Query", &MemoryStub::Query}, proto, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply, core_->key_dim);
}

absl::StatusOr<UpdateResult> Memory::Update(const UpdateRequest& request, const CallOptions& options) {
  v1::UpdateResponse reply;
  const absl::Status status = Observe(*core_, Rpc{"Update", &MemoryStub::Update}, request, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply);
}

absl::StatusOr<TrainStepResult> Memory::TrainStep(const TrainStepRequest& request,
                                                  const CallOptions& options) {
  v1::TrainStepResponse reply;
  const absl::Status status =
      Observe(*core_, Rpc{"TrainStep", &MemoryStub::TrainStep}, request, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply, core_->key_dim);
}

absl::StatusOr<GetSlotsResult> Memory::GetSlots(const GetSlotsRequest& request, const CallOptions& options) {
  v1::GetSlotsRequest proto;
  v1::GetSlotsResponse reply;
  ToProto(request, &proto);
  const absl::Status status = Read(*core_, Rpc{"GetSlots", &MemoryStub::GetSlots}, proto, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply, core_->key_dim);
}

absl::StatusOr<ClearResult> Memory::Clear(const CallOptions& options) {
  v1::ClearMemoryRequest proto;
  v1::ClearMemoryResponse reply;
  const absl::Status status =
      Mutate(*core_, Rpc{"ClearMemory", &AdminStub::ClearMemory}, proto, options, &reply);
  if (!status.ok()) return status;
  return ClearResult{.header = FromProto(reply.header()), .freed_slots = reply.freed_slots()};
}

absl::StatusOr<MemoryDescription> Memory::Describe(const CallOptions& options) {
  v1::DescribeMemoryRequest proto;
  v1::DescribeMemoryResponse reply;
  const absl::Status status =
      Read(*core_, Rpc{"DescribeMemory", &AdminStub::DescribeMemory}, proto, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply.description());
}

absl::StatusOr<StateHashResult> Memory::StateHash(const CallOptions& options) {
  v1::StateHashRequest proto;
  v1::StateHashResponse reply;
  const absl::Status status = Read(*core_, Rpc{"StateHash", &AdminStub::StateHash}, proto, options, &reply);
  if (!status.ok()) return status;
  return StateHashResult{.header = FromProto(reply.header()),
                         .state_hash = reply.state_hash(),
                         .live_slots = reply.live_slots()};
}

}  // namespace evoke::client
