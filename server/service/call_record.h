// The beginning and the end of every call: what its caller calls it, and what is told of it once it is over.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/request_tag.h"
#include "server/service/admission.h"
#include "server/service/service_context.h"

namespace evoke {

// Reads the metadata `x-request-id` and `traceparent` and sends them back with the reply's first metadata, an id made
// here where there is none. What is malformed, or there twice, is as if it were not there: it is no reason to refuse
// anybody. Requires: nothing was sent yet.
std::shared_ptr<const RequestTag> TakeTag(const ServiceContext& shared, grpc::ServerContextBase* context);

// A call that is over, whatever became of it.
struct CallRecord {
  std::string_view method;
  const Admitted& admitted;
  const RequestTag& tag;
  const absl::Status& status;  // as the client is told
  absl::Duration latency;
};

// To the metrics, to the audit log if its method is audited, and at the level debug to the log.
void RecordCall(const ServiceContext& shared, const grpc::ServerContextBase& context, const CallRecord& call);
// The same of one request of a stream, whose context may be gone.
void RecordRequest(const ServiceContext& shared, const CallRecord& call);

}  // namespace evoke
