// Errors on the wire: status code and message, and the public error model in the details.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace evoke {

// Details are a google.rpc.Status with the same code and message, an ErrorInfo (domain "evoke"; reason and
// metadata of the status's ErrorDetail) and, where waiting helps, a RetryInfo. A status without ErrorDetail
// has no details.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace evoke
