// TLS for the ports of the gRPC server: files that are checked, and put in place of others while it runs.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"

namespace evoke {

// Paths, PEM. Certificate and key empty: no TLS. `client_ca` set: a client must show a certificate that it
// signed.
struct TlsFiles {
  std::string certificate;  // the server's, and those between it and the root
  std::string key;          // without a passphrase
  std::string client_ca;
};

// What the files hold.
struct TlsMaterial {
  std::string certificate;
  std::string key;
  std::string client_ca;
};

// INVALID_ARGUMENT naming the file: it cannot be read, is no PEM of its kind, or the key is not the
// certificate's. Warns in the log of a key that others can read and of a certificate that is not valid today.
absl::StatusOr<TlsMaterial> LoadTls(const TlsFiles& files);

// The material in use. TLS 1.2 at least. Thread-safe. Must outlive the servers that its credentials were
// given to.
class TlsKeeper {
 public:
  // Requires: from LoadTls. Whether client certificates are wanted is settled here for good.
  explicit TlsKeeper(TlsMaterial material);
  ~TlsKeeper();

  // Handshakes that begin afterwards use it; connections go on. Requires: `client_ca` is empty exactly when
  // it was.
  void Replace(TlsMaterial material);

  // For one port. Each port asks on its own whether it has the latest material.
  std::shared_ptr<grpc::ServerCredentials> MakeCredentials();

 private:
  struct Port;

  mutable Mutex mu_;
  TlsMaterial material_ ABSL_GUARDED_BY(mu_);
  uint64_t version_ ABSL_GUARDED_BY(mu_) = 1;
  std::deque<Port> ports_ ABSL_GUARDED_BY(mu_);  // a deque: gRPC keeps their addresses
};

}  // namespace evoke
