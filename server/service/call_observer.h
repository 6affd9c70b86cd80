// Who is told of every call: the metrics exporter, or a test.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace evoke {

// Thread-safe and quick.
class CallObserver {
 public:
  virtual ~CallObserver() = default;
  // A call ended, whatever became of it. `method` is one of a fixed set, like "MemoryService/Query".
  virtual void OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) = 0;
  // A request was refused before it reached its memory's mailbox. `memory` is empty when it named none that
  // exists.
  virtual void OnRefused(std::string_view memory, std::string_view reason) = 0;
};

}  // namespace evoke
