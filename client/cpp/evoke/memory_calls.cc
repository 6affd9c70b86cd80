#include "evoke/memory_calls.h"

#include "absl/strings/str_cat.h"

namespace evoke::client {

std::string CallName(const MemoryCore& core, absl::string_view rpc) {
  return absl::StrCat(rpc, " of memory \"", core.name, "\"");
}

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

absl::Status NothingToResume(const MemoryCore& core, absl::string_view what, const CallOptions& options) {
  if (!options.resume.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(CallName(core, what), " changes nothing, so there is nothing to resume"));
}

}  // namespace evoke::client
