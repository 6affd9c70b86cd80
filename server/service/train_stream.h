// One TrainStream on its way: many train steps on one call, answered in the order in which they came.
//
// It reads a request only while fewer than a window of them are without their reply handed to the connection, so HTTP/2
// holds back a client that sends more. A request is admitted, converted and submitted as by TrainStep; what it is refused
// with ends the stream once all replies before it are sent. What later requests are answered nobody hears: they were
// read, and may have been applied.
//
// The reactor deletes itself when gRPC is done with it; what answers still need then is in a Flow that they share.
// Thread-safe. Failure: the first refusal is the status of the stream; every request is counted by its own outcome.
// Cost: beyond that of TrainStep a lock for each read, answer and write.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "server/service/call_record.h"
#include "server/service/service_context.h"

namespace evoke {

class TrainStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // `method` has static lifetime.
  TrainStream(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context);

 private:
  class Flow;
  ~TrainStream() override = default;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  const std::shared_ptr<Flow> flow_;
};

}  // namespace evoke
