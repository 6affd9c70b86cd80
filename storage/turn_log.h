// The seam behind SlotStore::Commit: where turns become durable, one after the other, without blocking the engine.
//
// Today StoreTurnLog commits each appended turn to a SlotStore on a thread that may block. Later records may be
// durable here (a preallocated log, a majority of replicas) before a store applies them; the engine will not notice.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "storage/ids.h"
#include "storage/turn_record.h"

namespace evoke {

class TurnLog {
 public:
  virtual ~TurnLog() = default;
  using AppendDone = std::function<void(absl::Status)>;

  // Appends turns in the order of the calls; `done` runs once, on any thread, when the turn is durable at the
  // memory's durability level or when it is not known to be. After the first failure every later Append fails.
  virtual void Append(std::shared_ptr<const TurnRecord> record, AppendDone done) = 0;
};

}  // namespace evoke
