// One logical call as a series of attempts: what each is sent with, and what its end means for the next.
// Internal.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "evoke/connection.h"

namespace evoke::client {

// The part of a call that blocking and asynchronous ones share; neither waits nor sends.
//
//   AttemptSeries series(connection, deadline);
//   ... send with series.Begin(&context); it ends with `status`, not OK:
//   series.DelayAfter(status);      // again after so long, or
//   series.Explain(what, status);   // the error of the call
//
// Thread-compatible. The connection must outlive it.
class AttemptSeries {
 public:
  explicit AttemptSeries(Connection& connection, absl::Time deadline,
                         Connection::AttemptTime attempt_time = Connection::AttemptTime::kLimited)
      : connection_(connection), deadline_(deadline), attempt_time_(attempt_time), names_(connection.NamesOfCall()) {}

  // Where the next attempt goes. `context`, a fresh one, gets its deadline, the token, and what the call is called (request_scope.h).
  Connection::Stubs& Begin(grpc::ClientContext* context);

  // How long to wait before the next attempt; nullopt: the call is over. Requires: an error.
  std::optional<absl::Duration> DelayAfter(const absl::Status& status);

  // `status` with what only the series knows: `what` it was, where, and the number of attempts.
  absl::Status Explain(absl::string_view what, const absl::Status& status) const;

  // Whether an attempt may have taken effect without a reply that says so.
  bool outcome_unknown() const { return outcome_unknown_; }

  // As if it had just been made, with `attempts` so far: 1 where one is underway, on a stream whose oldest
  // request is another one now.
  void Restart(absl::Time deadline, int attempts);

 private:
  Connection& connection_;
  absl::Time deadline_;
  const Connection::AttemptTime attempt_time_;
  const RequestNames names_;
  int attempts_ = 0;       // that count: not those with a token that was out of date
  size_t index_ = 0;       // of the stubs of the last attempt
  std::string token_;      // of the last attempt
  bool outcome_unknown_ = false;
};

}  // namespace evoke::client
