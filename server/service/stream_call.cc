#include "server/service/stream_call.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/service/status_mapping.h"

namespace evoke {
namespace {

// A client that takes no message for so long does not get to hold a thread any longer.
constexpr absl::Duration kStalledAfter = absl::Seconds(60);

}  // namespace

StreamCall::StreamCall(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context)
    : method_(method), shared_(shared), context_(context), began_(absl::Now()), deadline_(DeadlineOf(*context)), tag_(TakeTag(*shared, context)) {
  if (method_.mutates) shared_->mutations.Begin();
}

bool StreamCall::Parse(const grpc::ByteBuffer& request, google::protobuf::Message* message) {
  const absl::Status admitted = Admit(*shared_, *context_, method_.name, request, message, &admitted_);
  if (!admitted.ok()) Refuse(admitted);
  return admitted.ok();
}

void StreamCall::Refuse(const absl::Status& status, std::string_view memory) {
  if (shared_->observer != nullptr) {
    const std::optional<ErrorDetail> detail = DetailOf(status);
    shared_->observer->OnRefused(memory, detail ? detail->reason : "INTERNAL");
  }
  Conclude(ForClient(status, method_.name, *tag_));
}

void StreamCall::Run(std::function<absl::Status()> work) {
  const uint32_t open = shared_->open_calls.fetch_add(1);
  if (open >= shared_->max_open_exports) {
    shared_->open_calls.fetch_sub(1);
    return Refuse(MakeError(absl::StatusCode::kResourceExhausted,
                            absl::StrCat(open, " exports and snapshot calls are under way, at most ",
                                         shared_->max_open_exports, " run at a time"),
                            {.reason = "OPEN_LIMIT", .retry_delay = absl::Seconds(1)}));
  }
  shared_->long_calls->Post([this, work = std::move(work)] {
    absl::Status status = work();
    // Work that was given up says CANCELLED; why, is known here.
    if (const absl::Status why = GoingOn(); absl::IsCancelled(status) && !why.ok()) status = why;
    shared_->open_calls.fetch_sub(1);
    Conclude(ForClient(status, method_.name, *tag_));
  });
}

absl::Status StreamCall::GoingOn() const {
  if (shared_->draining.load()) return DrainingError();
  {
    MutexLock lock(&mu_);
    if (cancelled_) return absl::CancelledError("the caller has gone");
  }
  if (absl::Now() < deadline_) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed");
}

absl::Status StreamCall::Send(const google::protobuf::Message& message) {
  const absl::Time until = absl::Now() + kStalledAfter;
  {
    MutexLock lock(&mu_);
    while (writing_ && absl::Now() < until) changed_.WaitFor(&mu_, absl::ToChronoMilliseconds(until - absl::Now()));
    if (writing_) {
      context_->TryCancel();
      return absl::CancelledError("the caller has stopped reading");
    }
  }
  if (absl::Status s = GoingOn(); !s.ok()) return s;
  bool own_buffer;
  buffer_.Clear();
  const grpc::Status serialised = grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(
      message, &buffer_, &own_buffer);
  if (!serialised.ok()) return absl::InternalError(serialised.error_message());
  {
    MutexLock lock(&mu_);
    writing_ = true;
  }
  StartWrite(&buffer_);
  return absl::OkStatus();
}

void StreamCall::OnWriteDone(bool ok) {
  MutexLock lock(&mu_);
  writing_ = false;
  cancelled_ |= !ok;
  changed_.SignalAll();
}

void StreamCall::OnCancel() {
  MutexLock lock(&mu_);
  cancelled_ = true;
}

void StreamCall::Conclude(const absl::Status& status) {
  {
    MutexLock lock(&mu_);
    while (writing_) changed_.Wait(&mu_);
  }
  RecordCall(*shared_, *context_, {method_.name, admitted_, *tag_, status, absl::Now() - began_});
  // After Finish this object may be gone at any moment, and after End the services may.
  ServiceContext* const shared = shared_;
  const bool mutates = method_.mutates;
  Finish(ToGrpcStatus(status, tag_->request_id));
  if (mutates) shared->mutations.End();
}

}  // namespace evoke
