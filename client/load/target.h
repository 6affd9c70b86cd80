// What load is put on.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/load/call.h"

namespace evoke::load {

// The one place that knows how a call travels. There is one that sends unary calls (grpc_target.h) and one
// for tests; a stream of train steps would be another.
class Target {
 public:
  using Done = std::function<void(absl::Status)>;  // with ErrorDetails (error_details.h)
  virtual ~Target() = default;

  // Makes one attempt on a connection, counted from 0. Calls `done` exactly once, on any thread but never
  // before Start returns; until then `call` must stay where it is. `timeout` bounds the attempt.
  virtual void Start(int connection, Call* call, absl::Duration timeout, Done done) = 0;
};

}  // namespace evoke::load
