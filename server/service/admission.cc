#include "server/service/admission.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/service/access.h"

namespace evoke {

absl::Status WhyOver(absl::Time deadline, absl::Time now, bool cancelled) {
  if (now >= deadline) {
    return MakeError(absl::StatusCode::kDeadlineExceeded, "the deadline passed before anything was done for the request",
                     {.reason = "NOT_APPLIED"});
  }
  return cancelled ? absl::CancelledError("the caller has gone") : absl::OkStatus();
}

absl::Status Admit(const ServiceContext& shared, const grpc::ServerContextBase& context, std::string_view method,
                   const grpc::ByteBuffer& request, google::protobuf::Message* message, Admitted* admitted) {
  EVOKE_ASSIGN_OR_RETURN(admitted->principal, Authenticate(shared, context));
  EVOKE_RETURN_IF_ERROR(AuthorizeMethod(*admitted->principal, method));
  if (request.Length() > shared.limits->max_message_bytes) {
    return TooLarge("request", absl::StrCat("bytes of a ", message->GetDescriptor()->name()), request.Length(),
                    shared.limits->max_message_bytes);
  }
  EVOKE_RETURN_IF_ERROR(WhyOver(DeadlineOf(context), absl::Now(), context.IsCancelled()));
  grpc::ByteBuffer bytes(request);  // shares the slices
  if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&bytes, message).ok()) {
    return BadArgument(
        "request", absl::StrCat("the bytes of the request are no ", message->GetDescriptor()->full_name()));
  }
  admitted->memories = NamedMemories(*message);
  admitted->dry_run = IsDryRun(*message);
  for (const std::string& memory : admitted->memories) {
    EVOKE_RETURN_IF_ERROR(AuthorizeMemory(*admitted->principal, memory));
  }
  // Reading a large request takes its time, and what follows takes more.
  return WhyOver(DeadlineOf(context), absl::Now(), context.IsCancelled());
}

absl::Status ForClient(const absl::Status& status, std::string_view method, const RequestTag& tag) {
  if (status.code() != absl::StatusCode::kInternal && status.code() != absl::StatusCode::kUnknown) return status;
  Log(LogLevel::kError, "call failed by a fault of the server",
      {{LogKey::kMethod, method}, {LogKey::kRequestId, tag.request_id}, {LogKey::kDetail, status.ToString()}});
  return MakeError(status.code(), absl::StrCat("internal error, request id ", tag.request_id, ": ", status.message()),
                   {.reason = "INTERNAL", .metadata = {{"request_id", tag.request_id}}});
}

absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

}  // namespace evoke
