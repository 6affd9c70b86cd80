#include "server/page/caller.h"

#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

absl::Status Denied(const std::string& message) {
  return MakeError(absl::StatusCode::kPermissionDenied, message, {.reason = "PERMISSION_DENIED"});
}

bool IsLoopback(absl::string_view peer) {
  return absl::StartsWith(peer, "127.") || peer == "::1" || absl::StartsWith(peer, "::ffff:127.");
}

// A number, or "localhost": what only this machine can stand for. The host of a page that a stranger's DNS sends here
// ("rebinding") is a name.
bool IsOwnName(std::string_view host) {
  if (!host.empty() && host[0] == '[') return true;
  host = host.substr(0, host.find(':'));
  return host == "localhost" || host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Principal>> CallerOf(const HttpRequest& request, const Auth* auth,
                                                          bool from_anywhere) {
  static const auto* const open = new Auth;
  if (auth == nullptr) auth = open;
  auto principal = auth->Authenticate(request.Headers("authorization"));
  if (!principal.ok() || auth->uses_tokens() || from_anywhere) return principal;
  if (!IsLoopback(request.peer)) {
    return Denied(absl::StrCat("this server has no tokens, so it shows memories over HTTP to its own machine only, not to ",
                               request.peer, "; give it tokens, or --allow-insecure-remote"));
  }
  for (const std::string_view host : request.Headers("host")) {
    if (!IsOwnName(host)) return Denied("this server has no tokens and is asked for by a name; ask for localhost");
  }
  return principal;
}

}  // namespace evoke
