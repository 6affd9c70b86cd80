#include "evoke/async_call.h"

namespace evoke::client {

void RefreshTurnAsync(std::shared_ptr<MemoryCore> core, absl::Time deadline,
                      absl::AnyInvocable<void(absl::Status)> done) {
  const AsyncRpc<AsyncAdminStub, v1::DescribeMemoryRequest, v1::DescribeMemoryResponse> rpc{
      "DescribeMemory", &AsyncAdminStub::DescribeMemory};
  v1::DescribeMemoryRequest request;
  FillMemoryRef(*core, {}, request.mutable_memory());
  auto then = [core, done = std::move(done)](absl::Status status, v1::DescribeMemoryResponse& reply) mutable {
    if (status.ok()) core->SawTurn(reply.description().turn());
    done(std::move(status));
  };
  std::make_shared<AsyncCall<AsyncAdminStub, v1::DescribeMemoryRequest, v1::DescribeMemoryResponse>>(
      InFlight::Ticket(), core, rpc, std::move(request), deadline, std::nullopt, std::move(then))
      ->Start();
}

}  // namespace evoke::client
