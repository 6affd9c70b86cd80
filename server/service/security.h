// Everything that guards the gRPC server, from the files that the configuration names.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/service/audit.h"
#include "server/service/auth.h"
#include "server/service/tls.h"

namespace evoke {

struct SecurityFiles {
  TlsFiles tls;
  std::string tokens;     // empty: none are used
  std::string audit_log;  // empty: the log of the process
};

// Thread-safe. Must outlive the gRPC server.
class Security {
 public:
  // INVALID_ARGUMENT naming file and line of what is wrong.
  static absl::StatusOr<std::unique_ptr<Security>> Open(const SecurityFiles& files);
  // What Open would say, without making a file.
  static absl::Status Check(const SecurityFiles& files);

  // Reads the files again, which may have other names now, and goes on in a new audit file. What is wrong is
  // logged as an error, and the old state of that part stays. Whether there are TLS, client certificates and
  // tokens cannot change: a server does not become open while it runs. Calls and connections are not
  // disturbed.
  void Reload(const SecurityFiles& files);

  // TLS for host:port, when there is any; a unix socket is guarded by the mode of its file.
  std::shared_ptr<grpc::ServerCredentials> CredentialsFor(const std::string& address);

  const Auth* auth() const { return auth_.get(); }
  AuditLog* audit() const { return audit_.get(); }

 private:
  Security() = default;

  SecurityFiles files_;             // as at start: tells which parts there are
  std::unique_ptr<TlsKeeper> tls_;  // null: none
  std::unique_ptr<Auth> auth_;
  std::unique_ptr<AuditLog> audit_;
};

}  // namespace evoke
