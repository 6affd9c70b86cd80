// A gRPC server that does nothing but answer, and the barest client of it: what a round trip costs on this
// machine at this moment, to compare with.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"

namespace evoke {

// Answers every call of a method with the same bytes, on gRPC's callback threads, as evoked does.
class EchoServer final : public grpc::CallbackGenericService {
 public:
  // `replies` by method, "/evoke.v1.MemoryService/Query"; that of "" for all others.
  explicit EchoServer(const std::map<std::string, std::string>& replies) {
    for (const auto& [method, reply] : replies) replies_.emplace(method, reply);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(this);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) std::abort();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~EchoServer() override { server_->Shutdown(); }

  const std::string& address() const { return address_; }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    const auto it = replies_.find(context->method());
    const bool streams = context->method() == "/evoke.v1.MemoryService/TrainStream";
    return new Reactor((it == replies_.end() ? replies_.begin() : it)->second, streams);
  }

 private:
  class Reactor final : public grpc::ServerGenericBidiReactor {
   public:
    // `streams`: a reply to every message, until the client has no more.
    Reactor(const grpc::Slice& reply, bool streams) : reply_(&reply, 1), streams_(streams) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) {
        Finish(streams_ ? grpc::Status::OK : grpc::Status::CANCELLED);
      } else if (streams_) {
        StartWrite(&reply_);
      } else {
        StartWriteAndFinish(&reply_, {}, grpc::Status::OK);
      }
    }
    void OnWriteDone(bool ok) override {
      if (ok && streams_) StartRead(&request_);
      if (!ok && streams_) Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    grpc::ByteBuffer request_;
    grpc::ByteBuffer reply_;
    const bool streams_;
  };

  std::map<std::string, grpc::Slice> replies_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

// Calls of the same bytes on a channel of its own. Thread-compatible.
class EchoClient {
 public:
  EchoClient(const std::string& address, size_t request_bytes)
      : stub_(Channel(address)), request_(std::string(request_bytes, 'x')) {}

  // As a generated stub blocks: the calling thread drives the connection.
  void Call() {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub_.PrepareUnaryCall(&context, kMethod, grpc::ByteBuffer(&request_, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer reply;
    grpc::Status status;
    call->Finish(&reply, &status, nullptr);
    void* tag;
    bool ok;
    if (!queue.Next(&tag, &ok) || !status.ok()) std::abort();
  }
  void CallAsync(absl::AnyInvocable<void()> done) {
    struct Underway {
      grpc::ClientContext context;
      grpc::ByteBuffer request, reply;
      absl::AnyInvocable<void()> done;
    };
    auto call = std::make_shared<Underway>();
    call->request = grpc::ByteBuffer(&request_, 1);
    call->done = std::move(done);
    Underway& it = *call;
    stub_.UnaryCall(&it.context, kMethod, {}, &it.request, &it.reply,
                    [call](const grpc::Status& status) mutable {
                      if (!status.ok()) std::abort();
                      absl::AnyInvocable<void()> done = std::move(call->done);
                      call.reset();  // first, for its context holds the channel, which may not be closed here
                      done();
                    });
  }

 private:
  static constexpr char kMethod[] = "/echo/Echo";

  static std::shared_ptr<grpc::Channel> Channel(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
                     1);  // a connection of its own, as evoke's clients have
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }

  grpc::GenericStub stub_;
  const grpc::Slice request_;
};

}  // namespace evoke
