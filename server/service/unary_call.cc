#include "server/service/unary_call.h"

#include <utility>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/hash/hash.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/service/convert.h"
#include "server/service/status_mapping.h"
#include "server/service/stored_reply.h"

namespace evoke {
void MutationCount::Begin() {
  MutexLock lock(&mu_);
  ++count_;
}

void MutationCount::End() {
  MutexLock lock(&mu_);
  if (--count_ == 0) none_.SignalAll();
}

int64_t MutationCount::count() const {
  MutexLock lock(&mu_);
  return count_;
}

bool MutationCount::WaitForNone(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  MutexLock lock(&mu_);
  while (count_ > 0) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    none_.WaitFor(&mu_, absl::ToChronoMicroseconds(left));
  }
  return true;
}

absl::Status DrainingError() {
  return MakeError(absl::StatusCode::kUnavailable, "the server is stopping and takes no new mutations",
                   {.reason = "DRAINING"});
}

// gRPC calls an expired call cancelled too, so the deadline is looked at first.
UnaryCall::UnaryCall(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context,
                     grpc::ByteBuffer* reply)
    : method_(method),
      shared_(shared),
      context_(context),
      reply_(reply),
      began_(absl::Now()),
      deadline_(DeadlineOf(*context)),
      client_(absl::HashOf(context->peer())),
      tag_(TakeTag(*shared, context)),
      cancelled_(std::make_shared<std::atomic<bool>>(false)) {
  if (method_.mutates) shared_->mutations.Begin();
}

bool UnaryCall::Parse(const grpc::ByteBuffer& request, google::protobuf::Message* message) {
  const absl::Status admitted = Admit(*shared_, *context_, method_.name, request, message, &admitted_);
  if (!admitted.ok()) Refuse(admitted);
  return admitted.ok();
}

absl::Status UnaryCall::WhyOver() const { return evoke::WhyOver(deadline_, absl::Now(), context_->IsCancelled()); }

void UnaryCall::Reply(const google::protobuf::Message& message) {
  bool own_buffer;
  const grpc::Status serialised = grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(
      message, reply_, &own_buffer);
  Conclude(serialised.ok() ? absl::OkStatus() : absl::InternalError(serialised.error_message()));
}

void UnaryCall::ReplyStored(std::string bytes) {
  grpc::ByteBuffer whole = StoredReply(std::move(bytes), *shared_);
  reply_->Swap(&whole);
  Conclude(absl::OkStatus());
}

void UnaryCall::Fail(const absl::Status& status) { Conclude(ForClient(status, method_.name, *tag_)); }

void UnaryCall::Refuse(const absl::Status& status, std::string_view memory) {
  if (shared_->observer != nullptr) {
    const std::optional<ErrorDetail> detail = DetailOf(status);
    shared_->observer->OnRefused(memory, detail ? detail->reason : absl::StatusCodeToString(status.code()));
  }
  Fail(status);
}

std::function<bool()> UnaryCall::cancelled() const {
  return [flag = cancelled_] { return flag->load(std::memory_order_relaxed); };
}

void UnaryCall::Conclude(const absl::Status& status) {
  const grpc::Status wire = ToGrpcStatus(status, tag_->request_id);
  RecordCall(*shared_, *context_, {method_.name, admitted_, *tag_, status, absl::Now() - began_});
  // After Finish this object may be gone at any moment, and after End the services may.
  ServiceContext* const shared = shared_;
  const bool mutates = method_.mutates;
  Finish(wire);
  if (mutates) shared->mutations.End();
}

}  // namespace evoke
