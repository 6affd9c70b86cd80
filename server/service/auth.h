// Who calls: the principal behind a call, from its token or the certificate of its connection.
//
//   tokens set                 a token decides, whatever the connection is: none, or an unknown one:
//   UNAUTHENTICATED only client certificates   a verified one makes an admin; so does a unix socket, which
//   its file's mode guards neither                    everybody who can connect is admin
//
// Calls of every kind are checked with it: `Authenticate`, then AuthorizeMethod before the request is read
// and AuthorizeMemory for every memory it names (access.h). UnaryCall does that for unary ones.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/service/access.h"
#include "server/service/tokens.h"

namespace evoke {

// Thread-safe.
class Auth {
 public:
  // Everybody is admin.
  Auth() = default;
  // `tokens` null: none are used. `client_certificates`: every TCP connection has a verified one.
  Auth(std::shared_ptr<const TokenTable> tokens, bool client_certificates)
      : client_certificates_(client_certificates), tokens_(std::move(tokens)) {}

  // Calls that begin afterwards are checked with `tokens`. Requires: they are used.
  void SetTokens(std::shared_ptr<const TokenTable> tokens);

  // UNAUTHENTICATED, which never quotes what was sent. What is returned stays valid when tokens are replaced.
  absl::StatusOr<std::shared_ptr<const Principal>> Authenticate(const grpc::ServerContextBase& context) const;
  // The same for a request that came by HTTP, with the values of all its headers "Authorization". Such a connection shows
  // no certificate, so where only those are used nobody is let in.
  absl::StatusOr<std::shared_ptr<const Principal>> Authenticate(
      const std::vector<std::string_view>& authorization) const;
  // Whether tokens decide; if not, and Authenticate lets somebody in, it is everybody.
  bool uses_tokens() const;

 private:
  std::shared_ptr<const TokenTable> tokens() const;

  const bool client_certificates_ = false;
  mutable Mutex mu_;
  std::shared_ptr<const TokenTable> tokens_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
