#include "evoke/connection.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "evoke/attempt_series.h"
#include "evoke/error_details.h"
#include "evoke/id128.h"
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

void Close(Connection* connection) {
  if (!CompletionScope::InsideOne()) {
    delete connection;
  } else {  // gRPC's timers have threads of their own
    RealClock().CallAfter(absl::ZeroDuration(), [connection] { delete connection; });
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Connection::Create(ClientOptions options) {
  if (options.addresses.empty()) return absl::InvalidArgumentError("no address given, expected at least one");
  for (const std::string& address : options.addresses) {
    if (absl::Status status = ValidateAddress(address); !status.ok()) return status;
  }
  if (absl::Status status = ValidateRetryPolicy(options.retry); !status.ok()) return status;
  if (options.max_async_calls == 0) return absl::InvalidArgumentError("max_async_calls is 0, expected >= 1");
  absl::StatusOr<std::unique_ptr<TokenSource>> token = TokenSource::Create(options);
  if (!token.ok()) return token.status();
  std::vector<std::shared_ptr<grpc::ChannelCredentials>> credentials;
  for (const std::string& address : options.addresses) {
    auto made = MakeCredentials(options, address);
    if (!made.ok()) return made.status();
    credentials.push_back(*std::move(made));
  }
  if (options.clock == nullptr) options.clock = std::make_shared<RealClock>();
  const std::shared_ptr<Connection> connection(
      new Connection(std::move(options), *std::move(token), credentials), &Close);
  for (const auto& deadline :
       {connection->DeadlineAfter(std::nullopt), connection->LongDeadlineAfter(std::nullopt)}) {
    if (!deadline.ok()) return deadline.status();
  }
  return connection;
}

Connection::Connection(ClientOptions options, std::unique_ptr<TokenSource> token,
                       const std::vector<std::shared_ptr<grpc::ChannelCredentials>>& credentials)
    : options_(std::move(options)), token_(std::move(token)), id_prefix_(Id128::Random().ToHex().substr(0, 16)), in_flight_(std::make_shared<InFlight>(options_.max_async_calls)) {
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

RequestNames Connection::NamesOfCall() {
  RequestNames names = RequestScope::current();
  if (names.request_id.empty())
    names.request_id = absl::StrCat(id_prefix_, "-", ids_.fetch_add(1, std::memory_order_relaxed) + 1);
  return names;
}

absl::Status Connection::Run(absl::string_view what, absl::Time deadline, Attempt attempt, Report* report,
                             AttemptTime attempt_time) {
  AttemptSeries series(*this, deadline, attempt_time);
  while (true) {
    grpc::ClientContext context;
    const absl::Status status = StatusFromGrpc(attempt(series.Begin(&context), &context));
    if (status.ok()) return status;
    const std::optional<absl::Duration> delay = series.DelayAfter(status);
    if (report != nullptr && series.outcome_unknown()) report->outcome_unknown = true;
    if (!delay.has_value()) return series.Explain(what, status);
    if (*delay == absl::ZeroDuration()) continue;
    options_.clock->Sleep(*delay);
    if (absl::IsUnavailable(status)) {
      AwaitConnection(*stubs_[current_.load(std::memory_order_relaxed)].channel,
                      deadline - options_.clock->Now());
    }
  }
}

}  // namespace evoke::client
