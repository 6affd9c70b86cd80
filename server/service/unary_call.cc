#include "server/service/unary_call.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/hash/hash.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/service/convert.h"
#include "server/service/status_mapping.h"

namespace evoke {
namespace {

absl::Time ToTime(std::chrono::system_clock::time_point deadline) {
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

// A slice that owns the string, without a copy.
grpc::Slice OwningSlice(std::string bytes) {
  auto* owned = new std::string(std::move(bytes));
  return grpc::Slice(
      owned->data(), owned->size(), [](void* s) { delete static_cast<std::string*>(s); }, owned);
}

// Our bug: the client gets an id to report, the log says what happened.
absl::Status WithRequestId(const absl::Status& status, std::string_view method, const std::string& instance) {
  static std::atomic<uint64_t> count{0};
  const std::string id = absl::StrCat(absl::BytesToHexString(instance.substr(0, 4)), "-", ++count);
  spdlog::error("{} failed, request {}: {}", method, id, status.ToString());
  return MakeError(status.code(), absl::StrCat("internal error, request id ", id, ": ", status.message()),
                   {.reason = "INTERNAL", .metadata = {{"request_id", id}}});
}

}  // namespace

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
absl::Status WhyOver(absl::Time deadline, absl::Time now, bool cancelled) {
  if (now >= deadline) {
    return MakeError(absl::StatusCode::kDeadlineExceeded, "the deadline passed before anything was done for the request",
                     {.reason = "NOT_APPLIED"});
  }
  return cancelled ? absl::CancelledError("the caller has gone") : absl::OkStatus();
}

UnaryCall::UnaryCall(const Method& method, ServiceContext* shared, grpc::CallbackServerContext* context,
                     grpc::ByteBuffer* reply)
    : method_(method),
      shared_(shared),
      context_(context),
      reply_(reply),
      began_(absl::Now()),
      deadline_(ToTime(context->deadline())),
      client_(absl::HashOf(context->peer())),
      cancelled_(std::make_shared<std::atomic<bool>>(false)) {
  if (method_.mutates) shared_->mutations.Begin();
}

bool UnaryCall::Parse(const grpc::ByteBuffer& request, google::protobuf::Message* message) {
  // Before a byte of the request is looked at.
  auto caller = Authenticate(*shared_, *context_);
  absl::Status admitted = caller.status();
  if (caller.ok()) {
    principal_ = *std::move(caller);
    admitted = AuthorizeMethod(*principal_, method_.name);
  }
  if (!admitted.ok()) {
    Refuse(admitted);
    return false;
  }
  if (request.Length() > shared_->limits->max_message_bytes) {
    Refuse(TooLarge("request", absl::StrCat("bytes of a ", message->GetDescriptor()->name()),
                    request.Length(), shared_->limits->max_message_bytes));
    return false;
  }
  if (const absl::Status over = WhyOver(); !over.ok()) {
    Refuse(over);
    return false;
  }
  grpc::ByteBuffer bytes(request);  // shares the slices
  if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&bytes, message).ok()) {
    Refuse(BadArgument(
        "request", absl::StrCat("the bytes of the request are no ", message->GetDescriptor()->full_name())));
    return false;
  }
  memories_ = NamedMemories(*message);
  for (const std::string& memory : memories_) {
    if (const absl::Status allowed = AuthorizeMemory(*principal_, memory); !allowed.ok()) {
      Refuse(allowed);
      return false;
    }
  }
  // Reading a large request takes its time, and what follows takes more.
  const absl::Status over = WhyOver();
  if (!over.ok()) Refuse(over);
  return over.ok();
}

absl::Status UnaryCall::WhyOver() const { return evoke::WhyOver(deadline_, absl::Now(), context_->IsCancelled()); }

void UnaryCall::Reply(const google::protobuf::Message& message) {
  bool own_buffer;
  const grpc::Status serialised = grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(
      message, reply_, &own_buffer);
  Conclude(serialised.ok() ? absl::OkStatus() : absl::InternalError(serialised.error_message()));
}

void UnaryCall::ReplyStored(std::string bytes) {
  grpc::Slice slices[] = {OwningSlice(std::move(bytes)),
                          OwningSlice(EncodeHeaderPatch(shared_->instance, shared_->term))};
  grpc::ByteBuffer whole(slices, 2);
  reply_->Swap(&whole);
  Conclude(absl::OkStatus());
}

void UnaryCall::Fail(const absl::Status& status) {
  const bool ours =
      status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kUnknown;
  Conclude(ours ? WithRequestId(status, method_.name, shared_->instance) : status);
}

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
  const grpc::Status wire = ToGrpcStatus(status);
  if (shared_->observer != nullptr)
    shared_->observer->OnCall(method_.name, status.code(), absl::Now() - began_);
  Audit(*shared_, *context_, method_.name, principal_.get(), memories_, status.code());
  // After Finish this object may be gone at any moment, and after End the services may.
  ServiceContext* const shared = shared_;
  const bool mutates = method_.mutates;
  Finish(wire);
  if (mutates) shared->mutations.End();
}

}  // namespace evoke
