// What a client shows and what it asks to be shown: channel credentials and the token. Internal.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "evoke/client_options.h"
#include "grpcpp/security/credentials.h"

namespace evoke::client {

// Whether nothing that is sent there leaves this machine: a unix socket, localhost, 127.0.0.0/8 or ::1.
bool IsLocalAddress(const std::string& address);

// By the options' `tls`; plaintext without. A unix socket needs none, as the server has none there.
// INVALID_ARGUMENT naming a file that cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientOptions& options,
                                                                          const std::string& address);

// The token of the options, kept out of every message. Thread-safe.
class TokenSource {
 public:
  // INVALID_ARGUMENT: both token and token_file, a file that cannot be read, a token that is no header value,
  // or one that would cross a network unencrypted.
  static absl::StatusOr<std::unique_ptr<TokenSource>> Create(const ClientOptions& options);

  // "Bearer TOKEN"; empty without one.
  std::string Header() const;
  // After a server refused `header`: true when another one is there by now, in the file or by another caller.
  bool Renew(const std::string& header);

 private:
  explicit TokenSource(std::string file) : file_(std::move(file)) {}

  const std::string file_;  // empty: none
  mutable absl::Mutex mu_;
  std::string header_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::client
