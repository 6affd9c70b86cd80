// A disk under a simulated machine: what was written, what of it is durable, and everything that goes wrong
// with it.
//
// A commit is written whole and then synced, at once (FSYNC) or some time later (WAL). The death of the
// process loses nothing that was written; a loss of power keeps what was synced and any prefix of the rest. A
// store opened here belongs to one life of a process: when that is over it changes nothing any more.
// Thread-compatible.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/slot_store.h"
#include "tests/simulation/store_image.h"
#include "tests/simulation/virtual_world.h"

namespace evoke::testing {

// One life of a process. What it does after its death nobody sees.
struct Life {
  bool alive = true;
  // Told where it stands, at every place where a death is told apart from one a moment later; it may end it.
  std::function<void(const char* where)> at;
};

class SimulatedDisk {
 public:
  struct Options {
    MemoryUid uid;
    Hash128 spec_digest;
    bool fsync = true;
    StoreImage::Geometry geometry;
  };
  // In percent of the calls; `commits` are shared evenly between failing before, after and without its sync.
  struct Faults {
    int commits = 0;
    int reads = 0;             // of payloads and replies
    int recovery = 0;          // of meta, slots and sessions
    bool read_only = false;    // cannot be opened for writing, nor written
    bool unreachable = false;  // cannot be opened at all
  };
  // `written` hears of every turn that is written.
  using Written = std::function<void(const TurnRecord& record)>;
  SimulatedDisk(Options options, VirtualWorld* world, Written written);

  // INVALID when faults say so. Opening for writing makes durable what was written before.
  absl::StatusOr<std::unique_ptr<SlotStore>> Open(std::shared_ptr<Life> life, bool read_only);
  // Returns the turn that is left.
  Turn LosePower();
  void Sync();

  Faults& faults() { return faults_; }
  const Options& options() const { return options_; }
  const StoreImage& written() const { return written_; }
  Turn durable_turn() const { return durable_.meta.turn; }
  uint64_t failed_commits() const { return failed_commits_; }

 private:
  friend class SimulatedStore;
  absl::Status Commit(const Life& life, const TurnRecord& record);

  const Options options_;
  VirtualWorld* const world_;
  const Written on_written_;
  Faults faults_;
  StoreImage written_;
  StoreImage durable_;
  std::vector<TurnRecord> unsynced_;  // from durable_ to written_
  uint64_t failed_commits_ = 0;
};

}  // namespace evoke::testing
