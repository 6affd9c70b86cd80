// A TurnLog that commits to a SlotStore on a thread that may block, all turns that wait as one commit.
//
// While a commit is under way further turns queue; the next commit takes them all, so the number of syncs
// follows the disk and not the turns (group commit).
//
// The store must outlive the log. Threads: thread-safe. `done` runs on the posted thread, in the order of the
// turns. Destruction waits for a commit under way, and tells turns that none has taken CANCELLED; posted work
// that is left then does nothing, so the poster may drop it or run it later. Failure: after the first failed
// commit every queued and later turn is told the same status.
#pragma once

#include <functional>
#include <memory>

#include "storage/slot_store.h"
#include "storage/turn_log.h"

namespace evoke {

class StoreTurnLog final : public TurnLog {
 public:
  // Runs the given work soon, once, on a thread that may block.
  using Post = std::function<void(std::function<void()>)>;

  StoreTurnLog(SlotStore* store, Post post);
  ~StoreTurnLog() override;

  void Append(std::shared_ptr<const TurnRecord> record, AppendDone done) override;

 private:
  struct State;
  const std::shared_ptr<State> state_;  // shared with posted work
};

}  // namespace evoke
