// Errors on the wire: status code and message, and the public error model in the details.
#pragma once

#include <grpcpp/support/status.h>

#include <string_view>

#include "absl/status/status.h"

namespace evoke {

// Details are a google.rpc.Status with the same code and message, an ErrorInfo (domain "evoke"; reason and
// metadata of the status's ErrorDetail), where waiting helps a RetryInfo, and a RequestInfo with the id of the
// request. A status without ErrorDetail, of a request without an id, has no details.
grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id = {});

}  // namespace evoke
