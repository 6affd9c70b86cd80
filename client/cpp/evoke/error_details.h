// What an error says beyond its code: the server's stable reason, its metadata, its delay, and what became of
// a write.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "evoke/id128.h"

namespace grpc {
class Status;
}

namespace evoke::client {

// Names one mutation: number `number` of a session. Sending the same body under the same name applies it
// once.
struct MutationId {
  Id128 session;
  uint64_t number = 0;

  friend bool operator==(const MutationId&, const MutationId&) = default;
  friend auto operator<=>(const MutationId&, const MutationId&) = default;
};

// Travels inside an absl::Status as payloads (google.rpc.ErrorInfo, google.rpc.RetryInfo and one of our own),
// so it survives wherever the status goes.
struct ErrorDetails {
  std::string reason;  // stable, for instance "MEMORY_NOT_FOUND"; empty: the server named none
  std::map<std::string, std::string> metadata;  // for instance "last_number", "field"
  std::optional<absl::Duration> retry_delay;    // the server's; >= 0

  // Set by this library:
  int attempts = 0;                    // made by the call that failed; 0: none was
  std::string request_id;              // of the call: what to look for in the server's log (request_scope.h)
  bool outcome_unknown = false;        // a write that may or may not have been applied
  std::optional<MutationId> mutation;  // set: CallOptions::resume with it and the same request settles an
                                       // unknown outcome; it is applied once in either case

  // Number of a session that was applied last, from the metadata of a session error.
  std::optional<uint64_t> last_number() const;
};

// Empty details when `status` carries none.
ErrorDetails GetErrorDetails(const absl::Status& status);

// Replaces what `status` carries. Requires: not OK.
void SetErrorDetails(const ErrorDetails& details, absl::Status* status);

// Code, message and details of a finished RPC. Details that do not parse, or of another domain than "evoke",
// are left out: whoever sent them was not the server.
absl::Status StatusFromGrpc(const grpc::Status& status);

}  // namespace evoke::client
