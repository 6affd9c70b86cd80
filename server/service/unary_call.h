// One unary RPC on its way: admits its caller, parses the request, carries deadline and cancellation, and
// finishes exactly once, counting the outcome whatever it is.
//
// It deletes itself when gRPC is done with it, which is after Reply or Fail; `this` may be captured until one
// of the two was called. They may be called from any thread, and before the handler returned.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/task.h"
#include "server/service/call_record.h"
#include "server/service/service_context.h"

namespace evoke {

class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // `method` has static lifetime; `reply` belongs to gRPC.
  UnaryCall(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context,
            grpc::ByteBuffer* reply);

  // False when the call is over already, refused with what Admit says.
  bool Parse(const grpc::ByteBuffer& request, google::protobuf::Message* message);

  void Reply(const google::protobuf::Message& message);
  // `bytes` are a serialised reply without header.instance and header.term, which are added.
  void ReplyStored(std::string bytes);
  // `memory` is the memory's name once it is known to exist. Refuse is Fail before the mailbox: it is counted
  // by reason.
  void Fail(const absl::Status& status);
  void Refuse(const absl::Status& status, std::string_view memory = {});

  // OK while somebody waits for the answer: DEADLINE_EXCEEDED / NOT_APPLIED when the deadline has passed, CANCELLED when
  // the caller has gone. To be asked before work that may be long. Requires: neither Reply nor Fail was called.
  absl::Status WhyOver() const;

  // Who calls. Requires: Parse returned true.
  const Principal& principal() const { return *admitted_.principal; }
  absl::Time deadline() const { return deadline_; }
  const std::shared_ptr<const RequestTag>& tag() const { return tag_; }
  // Who asks, for fair shares: the connection that it came by, hashed. Differs from process to process.
  uint64_t client() const { return client_; }
  // True once nobody waits for the answer any more. May outlive the call.
  std::function<bool()> cancelled() const;

 private:
  ~UnaryCall() override = default;
  void OnCancel() override { cancelled_->store(true, std::memory_order_relaxed); }  // a hint; orders nothing
  void OnDone() override { delete this; }
  // gRPC means this for reactors of its own whose reactions are trivial, as these two are. Otherwise it wakes a thread of
  // its executor to run OnDone, for every call.
  bool InternalInlineable() override { return true; }
  void Conclude(const absl::Status& status);

  const Method& method_;
  ServiceContext* const shared_;
  grpc::CallbackServerContext* const context_;  // valid until Finish
  grpc::ByteBuffer* const reply_;
  const absl::Time began_;
  const absl::Time deadline_;
  const uint64_t client_;
  const std::shared_ptr<const RequestTag> tag_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  Admitted admitted_;  // by Parse
};

}  // namespace evoke
