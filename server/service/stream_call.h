// One call that answers with a stream, made by a thread that may block: exports, and what tells its progress.
//
//   auto* rpc = new StreamCall(...);
//   if (rpc->Parse(bytes, &request)) rpc->Run([=] { ...; rpc->Send(message); ...; return absl::OkStatus(); });
//   return rpc;
//
// It deletes itself when gRPC is done with it, after `work` returned or after Refuse. Send and GoingOn are for the
// thread of `work`. A client that reads slowly holds that thread, and nothing else.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/service/call_record.h"
#include "server/service/service_context.h"

namespace evoke {

class StreamCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `method` has static lifetime.
  StreamCall(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context);

  // As UnaryCall's: false when the call is over already.
  bool Parse(const grpc::ByteBuffer& request, google::protobuf::Message* message);
  void Refuse(const absl::Status& status, std::string_view memory = {});

  // Runs `work` on a thread that may block; what it returns ends the call. Refuses with OPEN_LIMIT when as many calls of
  // this kind are under way as the server runs at a time.
  void Run(std::function<absl::Status()> work);

  // Waits until the message before is on its way. Not OK: nobody listens any more, and `work` should end.
  absl::Status Send(const google::protobuf::Message& message);
  // CANCELLED, DEADLINE_EXCEEDED or DRAINING.
  absl::Status GoingOn() const;

  // Requires: Parse returned true.
  const Principal& principal() const { return *admitted_.principal; }
  absl::Time deadline() const { return deadline_; }

 private:
  ~StreamCall() override = default;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }
  void Conclude(const absl::Status& status);

  const Method& method_;
  ServiceContext* const shared_;
  grpc::CallbackServerContext* const context_;  // valid until Finish
  const absl::Time began_;
  const absl::Time deadline_;
  const std::shared_ptr<const RequestTag> tag_;
  Admitted admitted_;
  grpc::ByteBuffer buffer_;  // of the write under way

  mutable Mutex mu_;
  CondVar changed_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace evoke
