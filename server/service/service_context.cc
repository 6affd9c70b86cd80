#include "server/service/service_context.h"

#include "absl/strings/str_join.h"

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

void Audit(const ServiceContext& shared, const grpc::ServerContextBase& context, std::string_view method,
           const Principal* principal, const std::vector<std::string>& memories, absl::StatusCode code) {
  if (shared.audit == nullptr) return;
  const MethodRule* rule = RuleOf(method);
  if (rule == nullptr || !rule->audited) return;
  shared.audit->Write({.principal = principal == nullptr ? "" : principal->name,
                       .peer = context.peer(),
                       .method = method,
                       .memory = absl::StrJoin(memories, ","),
                       .code = code});
}

}  // namespace evoke
