// What every call passes before its request is acted on, unary or streaming: who calls, may they, is it a message.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/request_tag.h"
#include "server/service/service_context.h"

namespace evoke {

// Which method, and whether it changes a memory or the catalog: those are counted for the drain.
struct Method {
  std::string_view name;  // as in CallObserver
  bool mutates = false;
};

struct Admitted {
  std::shared_ptr<const Principal> principal;  // null: nobody known
  std::vector<std::string> memories;           // that the request names
  bool dry_run = false;                        // the request only asks what would be
};

// Fills `message` from the bytes. UNAUTHENTICATED or PERMISSION_DENIED for who may not call this method or name these
// memories (access.h), before a byte of the request is looked at where that is enough; BAD_ARGUMENT for bytes that are
// no such message, TOO_LARGE for too many of them; what WhyOver says, before the bytes are read and after. `admitted` is filled as far as it came.
absl::Status Admit(const ServiceContext& shared, const grpc::ServerContextBase& context, std::string_view method,
                   const grpc::ByteBuffer& request, google::protobuf::Message* message, Admitted* admitted);

// What the client is told of a failure: for a bug of ours the request's id, under which the log says what happened.
absl::Status ForClient(const absl::Status& status, std::string_view method, const RequestTag& tag);

// OK while somebody waits for the answer: DEADLINE_EXCEEDED / NOT_APPLIED, or CANCELLED.
absl::Status WhyOver(absl::Time deadline, absl::Time now, bool cancelled);

// When nobody waits any more: at the call's deadline, by the wall clock.
absl::Time DeadlineOf(const grpc::ServerContextBase& context);

}  // namespace evoke
