#include "server/service/service_context.h"

namespace evoke {

void CurrentLimits::Set(RequestLimits limits) {
  MutexLock lock(&mu_);
  current_.store(&all_.emplace_back(limits), std::memory_order_release);
}

absl::StatusOr<std::shared_ptr<const Principal>> Authenticate(const ServiceContext& shared,
                                                              const grpc::ServerContextBase& context) {
  static const auto* const open = new Auth;
  return (shared.auth == nullptr ? open : shared.auth)->Authenticate(context);
}

}  // namespace evoke
