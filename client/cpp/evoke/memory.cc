#include "evoke/memory.h"

#include "evoke/convert.h"
#include "evoke/memory_calls.h"

namespace evoke::client {
namespace {

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
