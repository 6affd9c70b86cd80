#include "evoke/memory_calls.h"

namespace evoke::client {

void FillMemoryRef(const MemoryCore& core, const CallOptions& options, v1::MemoryRef* ref) {
  ref->set_name(core.name);
  ref->set_uid(core.uid.ToBytes());
  if (options.epoch.has_value()) ref->set_epoch(*options.epoch);
  if (options.min_turn.has_value()) ref->set_min_turn(*options.min_turn);
}

absl::Status RefreshTurn(MemoryCore& core, absl::Time deadline) {
  v1::DescribeMemoryRequest request;
  v1::DescribeMemoryResponse reply;
  FillMemoryRef(core, {}, request.mutable_memory());
  const absl::Status status =
      Call(core, Rpc{"DescribeMemory", &AdminStub::DescribeMemory}, request, deadline, &reply);
  if (status.ok()) core.SawTurn(reply.description().turn());
  return status;
}

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

}  // namespace evoke::client
