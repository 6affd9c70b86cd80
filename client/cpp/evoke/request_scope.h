// What calls are called in the logs of the server: the id of a request, and the trace that it is part of.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace evoke::client {

// Every call has a request id, the same for all its attempts: one that the library makes, or the caller's. It is in the
// server's log, in its slow-turn and audit log, and in the error of the call (ErrorDetails::request_id).
struct RequestNames {
  std::string request_id;   // 1 to 128 of letters, digits and "._-:/+=@,"; else, and empty: the library makes one a call
  std::string traceparent;  // W3C Trace Context, version 00; else, and empty: none is sent
};

// Names the calls that begin on this thread while it lives, asynchronous ones too; a TrainPipeline is named when it is
// made. A scope within a scope replaces it, but for what it leaves empty.
//
//   const RequestScope scope({.request_id = http_request.header("x-request-id"), .traceparent = span.traceparent()});
//   memory.Query(...);
class RequestScope {
 public:
  explicit RequestScope(RequestNames names);
  ~RequestScope();
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

  // Of the innermost scope of this thread; empty outside. What could not be sent is not in it.
  static const RequestNames& current();

 private:
  RequestNames names_;
  const RequestNames* const outer_;
};

// The rules above.
bool IsRequestId(absl::string_view text);
bool IsTraceParent(absl::string_view text);

}  // namespace evoke::client
