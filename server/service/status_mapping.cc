#include "server/service/status_mapping.h"

#include <string>

#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

google::protobuf::Duration ToProto(absl::Duration delay) {
  google::protobuf::Duration out;
  absl::Duration rest;
  out.set_seconds(absl::IDivDuration(delay, absl::Seconds(1), &rest));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return out;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());  // Abseil took over gRPC's numbers
  const std::string message(status.message());
  const std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail && request_id.empty()) return grpc::Status(code, message);

  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  if (detail) {
    google::rpc::ErrorInfo info;
    info.set_reason(detail->reason);
    info.set_domain("evoke");
    info.mutable_metadata()->insert(detail->metadata.begin(), detail->metadata.end());
    details.add_details()->PackFrom(info);
  }
  if (detail && detail->retry_delay) {
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToProto(*detail->retry_delay);
    details.add_details()->PackFrom(retry);
  }
  if (!request_id.empty()) {
    google::rpc::RequestInfo request;
    request.set_request_id(std::string(request_id));
    details.add_details()->PackFrom(request);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace evoke
