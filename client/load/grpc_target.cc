#include "client/load/grpc_target.h"

#include <chrono>
#include <utility>

#include "evoke/error_details.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace evoke::load {
namespace {

// As the client library opens its channels (evoke/connection.cc has the reasons). Each has its own socket:
// one socket's flow control and its reading thread would be shared otherwise, and connections a number
// without meaning.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address, const client::ClientOptions& options,
                                           const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcTarget>> GrpcTarget::Create(const client::ClientOptions& options,
                                                               int connections) {
  std::unique_ptr<GrpcTarget> target(new GrpcTarget());
  absl::StatusOr<std::unique_ptr<client::TokenSource>> token = client::TokenSource::Create(options);
  if (!token.ok()) return token.status();
  target->token_ = *std::move(token);
  for (int i = 0; i < connections; ++i) {
    auto connection = std::make_unique<Connection>();
    for (const std::string& address : options.addresses) {
      auto credentials = client::MakeCredentials(options, address);
      if (!credentials.ok()) return credentials.status();
      connection->stubs.push_back(v1::MemoryService::NewStub(OpenChannel(address, options, *credentials)));
    }
    connection->current = static_cast<size_t>(i) % options.addresses.size();
    target->connections_.push_back(std::move(connection));
  }
  return target;
}

void GrpcTarget::Start(int connection, Call* call, absl::Duration timeout, Done done) {
  Connection& way = *connections_[static_cast<size_t>(connection)];
  const size_t index = way.current.load(std::memory_order_relaxed);
  call->context = std::make_unique<grpc::ClientContext>();
  call->context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
  std::string token = token_->Header();
  if (!token.empty()) call->context->AddMetadata("authorization", token);
  auto finish = [this, &way, index, token = std::move(token), done = std::move(done)](grpc::Status status) {
    absl::Status result = client::StatusFromGrpc(status);
    // Its owner may have been given another one since it was read; the next attempt shows it.
    if (absl::IsUnauthenticated(result)) token_->Renew(token);
    if (absl::IsUnavailable(result)) {
      size_t expected = index;  // of calls that failed together one moves on
      way.current.compare_exchange_strong(expected, (index + 1) % way.stubs.size(),
                                          std::memory_order_relaxed);
    }
    done(std::move(result));
  };
  auto* service = way.stubs[index]->async();
  switch (call->method) {
    case Method::kQuery:
      return service->Query(call->context.get(), &call->query, &call->query_reply, std::move(finish));
    case Method::kUpdate:
      return service->Update(call->context.get(), &call->update, &call->update_reply, std::move(finish));
    case Method::kTrainStep:
      return service->TrainStep(call->context.get(), &call->train_step, &call->train_step_reply,
                                std::move(finish));
  }
}

}  // namespace evoke::load
