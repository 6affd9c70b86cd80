// A gRPC server on the configured addresses.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evoke {

inline constexpr int kMaxMetadataBytes = 8192;  // of one call; gRPC's own default, said aloud

struct ListenOptions {
  std::vector<std::string> addresses;  // host:port (0: one is chosen) or unix:path
  uint64_t max_message_bytes = 0;
  // TLS or none for an address; empty: none. What it gives may keep what outlives the server only.
  std::function<std::shared_ptr<grpc::ServerCredentials>(const std::string& address)> credentials;
  // A connection that has not finished its handshakes (TLS, HTTP/2) by then is dropped.
  absl::Duration handshake_timeout = absl::Seconds(10);
  std::vector<grpc::Service*> services;  // outlive the server
};

struct ListeningServer {
  std::unique_ptr<grpc::Server> server;
  std::vector<std::string> addresses;  // with the real ports
};

// Health and reflection are on. RESOURCE_EXHAUSTED, naming the address, when one is in use or cannot be had:
// a port is never shared, and the socket file of a unix address is replaced only when nobody listens on it.
absl::StatusOr<ListeningServer> Listen(const ListenOptions& options);

}  // namespace evoke
