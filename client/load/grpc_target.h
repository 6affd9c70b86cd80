// A server, by gRPC's callback API.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/target.h"
#include "evoke/client_options.h"
#include "evoke/security.h"
#include "evoke/v1/memory_service.grpc.pb.h"

namespace evoke::load {

// Unary calls. Every connection is a channel of its own, with its own socket; with several addresses it has
// one to each, begins at another one than its neighbor, and goes on to the next when one is unavailable.
// Repeats nothing: that is decided where it is counted (lane.h). Thread-safe. Outlives its calls.
class GrpcTarget final : public Target {
 public:
  // INVALID_ARGUMENT for options that name no address, or files that cannot be read. Makes no contact.
  static absl::StatusOr<std::unique_ptr<GrpcTarget>> Create(const client::ClientOptions& options,
                                                            int connections);

  void Start(int connection, Call* call, absl::Duration timeout, Done done) override;

 private:
  struct Connection {
    std::vector<std::unique_ptr<v1::MemoryService::Stub>> stubs;  // one an address
    std::atomic<size_t> current = 0;  // index into stubs; only a preference, so any order of stores will do
  };
  GrpcTarget() = default;

  std::unique_ptr<client::TokenSource> token_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace evoke::load
