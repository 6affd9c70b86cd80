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
#include "evoke/in_flight.h"
#include "evoke/request_scope.h"
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
  // Whoever drops the last reference, inside a completion too: the channels are then closed elsewhere.
  static absl::StatusOr<std::shared_ptr<Connection>> Create(ClientOptions options);

  // When a call that starts now has to be over. INVALID_ARGUMENT unless `timeout`, or else the default, is
  // finite and > 0.
  absl::StatusOr<absl::Time> DeadlineAfter(std::optional<absl::Duration> timeout) const;
  absl::StatusOr<absl::Time> LongDeadlineAfter(std::optional<absl::Duration> timeout) const;

  // How long one attempt may take.
  enum class AttemptTime {
    kLimited,  // RetryPolicy::attempt_timeout
    kAll,      // all the time that is left: it reads or writes a whole memory
    kEndless,  // a stream that goes on until its owner ends it: he watches the time
  };

  // What a call that begins now on this thread is called: as its RequestScope says, with an id in any case.
  RequestNames NamesOfCall();

  Clock& clock() { return *options_.clock; }
  // The asynchronous calls underway, of all memories.
  const std::shared_ptr<InFlight>& in_flight() const { return in_flight_; }

  // Runs `attempt`, which must be safe to repeat and must overwrite its reply, by retry_policy.h until
  // `deadline`. An error is that of the last attempt; its message begins with `what`, its details tell the
  // number of attempts. `report` may be null. Blocks; who may not has attempt_series.h.
  absl::Status Run(absl::string_view what, absl::Time deadline, Attempt attempt, Report* report = nullptr,
                   AttemptTime attempt_time = AttemptTime::kLimited);

 private:
  friend class AttemptSeries;
  Connection(ClientOptions options, std::unique_ptr<TokenSource> token,
             const std::vector<std::shared_ptr<grpc::ChannelCredentials>>& credentials);

  const ClientOptions options_;
  const std::unique_ptr<TokenSource> token_;
  std::vector<Stubs> stubs_;         // one an address, in their order
  std::atomic<size_t> current_ = 0;  // index into stubs_; only a preference, so any order of stores will do
  const std::string id_prefix_;  // of the request ids made here: random, so that those of two clients differ
  std::atomic<uint64_t> ids_ = 0;
  const std::shared_ptr<InFlight> in_flight_;  // shared with the calls, which outlive this by a moment
};

}  // namespace evoke::client
