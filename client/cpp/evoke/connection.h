// One logical call over gRPC: attempts, waits and changes of address until it is decided. Internal.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "evoke/client_options.h"
#include "evoke/security.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace evoke::client {

// The channels to the addresses of a client, one each, connected when first used. Thread-safe.
class Connection {
 public:
  struct Stubs {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::MemoryService::Stub> memory;
    std::unique_ptr<v1::AdminService::Stub> admin;
    std::unique_ptr<grpc::health::v1::Health::Stub> health;
  };
  using Attempt = absl::FunctionRef<grpc::Status(Stubs& stubs, grpc::ClientContext* context)>;

  struct Report {
    bool outcome_unknown =
        false;  // set by Run when an attempt may have taken effect without a reply that says so
  };

  // INVALID_ARGUMENT for options out of bounds, or files that cannot be read. Makes no contact.
  static absl::StatusOr<std::unique_ptr<Connection>> Create(ClientOptions options);

  // When a call that starts now has to be over. INVALID_ARGUMENT unless `timeout`, or else the default, is
  // finite and > 0.
  absl::StatusOr<absl::Time> DeadlineAfter(std::optional<absl::Duration> timeout) const;
  absl::StatusOr<absl::Time> LongDeadlineAfter(std::optional<absl::Duration> timeout) const;

  // How long one attempt may take.
  enum class AttemptTime {
    kLimited,  // RetryPolicy::attempt_timeout
    kAll,      // all the time that is left: it reads or writes a whole memory
  };

  // Runs `attempt`, which must be safe to repeat and must overwrite its reply, by retry_policy.h until
  // `deadline`. An error is that of the last attempt; its message begins with `what`, its details tell the
  // number of attempts. `report` may be null.
  absl::Status Run(absl::string_view what, absl::Time deadline, Attempt attempt, Report* report = nullptr,
                   AttemptTime attempt_time = AttemptTime::kLimited);

 private:
  Connection(ClientOptions options, std::unique_ptr<TokenSource> token,
             const std::vector<std::shared_ptr<grpc::ChannelCredentials>>& credentials);

  const ClientOptions options_;
  const std::unique_ptr<TokenSource> token_;
  std::vector<Stubs> stubs_;         // one an address, in their order
  std::atomic<size_t> current_ = 0;  // index into stubs_; only a preference, so any order of stores will do
};

}  // namespace evoke::client
