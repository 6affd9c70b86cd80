#include "server/service/auth.h"

#include <string>

#include "absl/strings/match.h"
#include "server/base/check.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

constexpr absl::string_view kScheme = "Bearer ";

absl::Status Unauthenticated(std::string_view message) {
  return MakeError(absl::StatusCode::kUnauthenticated, message, {.reason = "UNAUTHENTICATED"});
}

std::shared_ptr<const Principal> Admin(std::string name) {
  return std::make_shared<const Principal>(
      Principal{.name = std::move(name), .role = Role::kAdmin, .patterns = {"*"}});
}

std::shared_ptr<const Principal> Anonymous() {
  static const auto* const anonymous = new std::shared_ptr<const Principal>(Admin("anonymous"));
  return *anonymous;
}

absl::StatusOr<std::shared_ptr<const Principal>> ByToken(std::shared_ptr<const TokenTable> tokens,
                                                         const std::vector<std::string_view>& authorization) {
  if (authorization.empty())
    return Unauthenticated("this server wants a token, in the metadata \"authorization: Bearer TOKEN\"");
  if (authorization.size() > 1) return Unauthenticated("the metadata \"authorization\" is there more than once");
  const absl::string_view value(authorization[0].data(), authorization[0].size());
  if (!absl::StartsWithIgnoreCase(value, kScheme))
    return Unauthenticated("the metadata \"authorization\" does not begin with \"Bearer \"");
  const Principal* found = tokens->Find({value.data() + kScheme.size(), value.size() - kScheme.size()});
  if (found == nullptr) return Unauthenticated("the token is not one that this server knows");
  return std::shared_ptr<const Principal>(std::move(tokens), found);
}

}  // namespace

void Auth::SetTokens(std::shared_ptr<const TokenTable> tokens) {
  MutexLock lock(&mu_);
  EVOKE_CHECK(tokens_ != nullptr && tokens != nullptr);
  tokens_ = std::move(tokens);
}

std::shared_ptr<const TokenTable> Auth::tokens() const {
  MutexLock lock(&mu_);
  return tokens_;
}

bool Auth::uses_tokens() const { return tokens() != nullptr; }

absl::StatusOr<std::shared_ptr<const Principal>> Auth::Authenticate(
    const std::vector<std::string_view>& authorization) const {
  if (auto table = tokens(); table != nullptr) return ByToken(std::move(table), authorization);
  if (!client_certificates_) return Anonymous();
  return Unauthenticated("this server knows its callers by certificates, which HTTP does not show: give it tokens");
}

absl::StatusOr<std::shared_ptr<const Principal>> Auth::Authenticate(
    const grpc::ServerContextBase& context) const {
  if (auto table = tokens(); table != nullptr) {
    std::vector<std::string_view> authorization;
    const auto [first, last] = context.client_metadata().equal_range("authorization");
    for (auto it = first; it != last; ++it) authorization.emplace_back(it->second.data(), it->second.size());
    return ByToken(std::move(table), authorization);
  }
  if (!client_certificates_) return Anonymous();
  const std::shared_ptr<const grpc::AuthContext> connection = context.auth_context();
  const std::vector<grpc::string_ref> names = connection->FindPropertyValues("x509_common_name");
  if (connection->IsPeerAuthenticated())
    return Admin(names.empty() ? "certificate without a name"
                               : std::string(names[0].data(), names[0].size()));
  // TCP ports take no connection without a certificate. Asked all the same: what is no unix socket is closed.
  if (absl::StartsWith(context.peer(), "unix:")) return Admin("local");
  return Unauthenticated("this server wants a client certificate");
}

}  // namespace evoke
