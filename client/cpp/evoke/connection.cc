#include "evoke/connection.h"

#include <algorithm>
#include <chrono>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace evoke::client {
namespace {

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address, const ClientOptions& options,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  // The server bounds messages and says so with both numbers; a second bound here would only lose replies.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // gRPC's own retries buffer 256 KiB and know nothing of numbers: Run() is the only place that repeats
  // anything.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Calls fail at once while gRPC waits to reconnect, so its waits must stay below ours (default: up to 2
  // minutes).
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A server that vanished without a word is noticed by calls that may last an hour, too.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Otherwise all clients of a process share one TCP connection, and its flow control.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (options.tls.has_value() && !options.tls->server_name.empty())
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

// Between calls nobody drives a channel but gRPC's backup poller, every five seconds, and an attempt on a
// channel that is not connected fails at once: without this, a server that is back would be noticed seconds
// late. In the machine's time, whatever the clock; returns at once when the channel is connected.
constexpr absl::Duration kConnectPatience = absl::Milliseconds(100);

void AwaitConnection(grpc::Channel& channel, absl::Duration time_left) {
  channel.WaitForConnected(std::chrono::system_clock::now() +
                           absl::ToChronoNanoseconds(std::min(time_left, kConnectPatience)));
}

absl::Status ValidateAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (absl::StartsWith(address, "unix:")
          ? address.size() > 5
          : colon != std::string::npos && colon > 0 && colon + 1 < address.size()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("address \"", address, "\" is neither host:port nor unix:PATH"));
}

absl::StatusOr<absl::Time> EndOf(absl::Duration duration, Clock& clock) {
  if (duration <= absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("deadline is ", absl::FormatDuration(duration), ", expected finite and > 0"));
  }
  return clock.Now() + duration;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Create(ClientOptions options) {
  if (options.addresses.empty()) return absl::InvalidArgumentError("no address given, expected at least one");
  for (const std::string& address : options.addresses) {
    if (absl::Status status = ValidateAddress(address); !status.ok()) return status;
  }
  if (absl::Status status = ValidateRetryPolicy(options.retry); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<TokenSource>> token = TokenSource::Create(options);
  if (!token.ok()) return token.status();
  std::vector<std::shared_ptr<grpc::ChannelCredentials>> credentials;
  for (const std::string& address : options.addresses) {
    auto made = MakeCredentials(options, address);
    if (!made.ok()) return made.status();
    credentials.push_back(*std::move(made));
  }
  if (options.clock == nullptr) options.clock = std::make_shared<RealClock>();
  std::unique_ptr<Connection> connection(new Connection(std::move(options), *std::move(token), credentials));
  for (const auto& deadline :
       {connection->DeadlineAfter(std::nullopt), connection->LongDeadlineAfter(std::nullopt)}) {
    if (!deadline.ok()) return deadline.status();
  }
  return connection;
}

Connection::Connection(ClientOptions options, std::unique_ptr<TokenSource> token,
                       const std::vector<std::shared_ptr<grpc::ChannelCredentials>>& credentials)
    : options_(std::move(options)), token_(std::move(token)) {
  for (size_t i = 0; i < options_.addresses.size(); ++i) {
    const std::string& address = options_.addresses[i];
    const std::shared_ptr<grpc::Channel> channel = OpenChannel(address, options_, credentials[i]);
    stubs_.push_back({.address = address,
                      .channel = channel,
                      .memory = v1::MemoryService::NewStub(channel),
                      .admin = v1::AdminService::NewStub(channel),
                      .health = grpc::health::v1::Health::NewStub(channel)});
  }
}

absl::StatusOr<absl::Time> Connection::DeadlineAfter(std::optional<absl::Duration> timeout) const {
  return EndOf(timeout.value_or(options_.deadline), *options_.clock);
}

absl::StatusOr<absl::Time> Connection::LongDeadlineAfter(std::optional<absl::Duration> timeout) const {
  return EndOf(timeout.value_or(options_.long_deadline), *options_.clock);
}

absl::Status Connection::Run(absl::string_view what, absl::Time deadline, Attempt attempt, Report* report,
                             AttemptTime attempt_time) {
  absl::InsecureBitGen random;
  for (int attempts = 1;; ++attempts) {
    const size_t index = current_.load(std::memory_order_relaxed);
    Stubs& stubs = stubs_[index];
    grpc::ClientContext context;
    const absl::Duration left = deadline - options_.clock->Now();
    const absl::Duration limit =
        attempt_time == AttemptTime::kAll ? absl::InfiniteDuration() : options_.retry.attempt_timeout;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(std::min(left, limit)));
    const std::string token = token_->Header();
    if (!token.empty()) context.AddMetadata("authorization", token);
    const absl::Status status = StatusFromGrpc(attempt(stubs, &context));
    if (status.ok()) return status;
    // Its owner may have been given another one since it was read.
    if (absl::IsUnauthenticated(status) && token_->Renew(token)) continue;

    if (report != nullptr && OutcomeIsUnknown(status)) report->outcome_unknown = true;
    if (absl::IsUnavailable(status)) {
      size_t expected = index;  // of callers that failed together one moves on
      current_.compare_exchange_strong(expected, (index + 1) % stubs_.size(), std::memory_order_relaxed);
    }
    const std::optional<absl::Duration> delay =
        DelayBeforeRetry(options_.retry, attempts, status, deadline - options_.clock->Now(),
                         absl::Uniform<double>(random, 0.0, 1.0));
    if (!delay.has_value()) {
      absl::Status result(
          status.code(),
          absl::StrCat(what, " at ", stubs.address, attempts > 1 ? absl::StrCat(", attempt ", attempts) : "",
                       ": ", status.message()));
      ErrorDetails details = GetErrorDetails(status);
      details.attempts = attempts;
      SetErrorDetails(details, &result);
      return result;
    }
    options_.clock->Sleep(*delay);
    if (absl::IsUnavailable(status)) {
      AwaitConnection(*stubs_[current_.load(std::memory_order_relaxed)].channel,
                      deadline - options_.clock->Now());
    }
  }
}

}  // namespace evoke::client
