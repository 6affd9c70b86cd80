// What a caller calls its request: the id that it is found by in the log, and the trace that it belongs to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace evoke {

inline constexpr size_t kMaxRequestIdBytes = 128;

// Immutable once a call has it; shared by what is done for the call.
struct RequestTag {
  std::string request_id;  // the caller's, else made here; never empty
  std::string trace_id;    // 32 lower-case hex digits; empty: the caller traces nothing
  std::string span_id;     // 16, with it: of the caller's span, of which this is a part
};

// Whether it may be a request id: 1 to 128 of letters, digits and "._-:/+=@,". (The value of x-request-id.)
bool IsRequestId(std::string_view text);

// W3C Trace Context, version 00, and nothing that only resembles it. nullopt: to be ignored, as that document says.
struct TraceParent {
  std::string_view trace_id;  // both: into the text that was read
  std::string_view span_id;
};
std::optional<TraceParent> ParseTraceParent(std::string_view text);

}  // namespace evoke
