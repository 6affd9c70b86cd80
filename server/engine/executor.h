// One memory being served: its mailbox, its engine, and where it stands.
//
//   Submit -> mailbox -> (the memory's strand) drain a turn -> Engine::RunTurn -> every task's `done`
//
// A turn takes what waits in the mailbox, up to a number of rows, fairly between clients (mailbox.h); expired and
// cancelled tasks are answered without work. A memory that is loading, or that reloads after a failed commit, refuses with UNAVAILABLE.
//
// Threads: thread-safe. Owned by the catalog through shared_ptr; calls in flight keep it alive.
// Failure: after a failed commit every task of the turn gets UNAVAILABLE / COMMIT_UNKNOWN and the memory is recovered
// from its store; if that cannot be opened for writing, reads go on and writes get READ_ONLY_DISK until it can. Damage
// that is found makes it FAILED.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/thread_pool.h"
#include "server/engine/engine_probe.h"
#include "server/engine/task.h"
#include "server/index/device_search_factory.h"
#include "server/memory/memory_spec.h"
#include "storage/slot_store.h"

namespace evoke {

class SlowTurns;

// The edges of a turn's state machine: where the end of the process means one thing before and another after. In order,
// but that a turn is applied while it is committed, and that others begin meanwhile.
enum class TurnEdge : uint8_t {
  kAdmitted,      // nothing but refusals was answered
  kProposed,      // the shards have answered; again after every second request for reads
  kReadsKnown,    // before the reads are sent
  kDeciding,      // the reads are sent, or wait for the commit, or the turns before; again after every second request
  kDecided,       // the record is built
  kCommitting,    // ... and given to the log
  kApplied,       // the shards have it
  kCommitted,     // durable, and nobody knows
  kAcknowledged,  // everybody knows
  kFailed,        // instead: the commit, and nobody knows
};

// Options of the process for every memory. None of them changes a bit of any answer.
struct EngineOptions {
  uint32_t shards = 0;                 // parts read and searched in parallel; 0: ShardCount chooses
  std::string index = "flat";          // or "faiss_flat", "canonical", or one on a device
  std::vector<int> gpu_devices;        // that such an index takes, shard s the one at s mod their number; empty: 0
  uint32_t max_turn_rows = 4096;       // rows that one turn takes; a larger request is alone in its turn
  uint64_t mailbox_rows = 65536;       // rows that may wait; beyond: RESOURCE_EXHAUSTED / MAILBOX_FULL
  uint64_t mailbox_bytes = uint64_t{256} << 20;  // bytes that may wait, of what was asked for
  uint32_t max_sessions = 1024;        // a memory
  uint32_t max_unacknowledged = 16;    // replies a session
  uint64_t max_reply_bytes = uint64_t{64} << 20;  // stored replies a memory
  uint32_t turns_in_flight = 2;        // that are not durable: one is worked on while the commits of others sync; 1: alone
  uint32_t audit_slots_per_second = 0;  // of a memory, compared with index and store in the background; 0: none
  bool ask_one_at_a_time = false;      // tests: ask shards for 1 of everything, so that second requests are exercised
  uint32_t apply_lag_turns = 0;        // tests: shards are that many turns late
  std::shared_ptr<SlowTurns> slow_turns;  // hears of turns that take long; null: nobody does
  std::function<void(TurnEdge)> at_edge;  // simulation: hears of every edge, on the strand; else empty
  std::function<void(int device, absl::Duration taken)> on_device_search;  // hears of each, on any thread; or empty
  MakeDeviceSearch make_device;        // tests: in place of real devices; else empty
};

enum class MemoryState : uint8_t { kLoading = 1, kServing = 2, kReadOnly = 3, kFailed = 4, kDraining = 5 };

// What the audit of a memory found since the start (self_audit.h).
struct AuditFigures {
  uint64_t slots = 0;              // looked at
  uint64_t passes = 0;             // over all slots
  uint64_t index_differences = 0;  // keys that the index had wrong; repaired
  uint64_t store_differences = 0;  // rows that are not what is served, or damaged; not repaired
  std::string corrupt;             // what was found last; empty once a whole pass found nothing
};

// What a shard of a memory has to do: what makes one slower than another (shard.h).
struct ShardLoad {
  uint64_t live_count = 0;
  uint64_t searched_rows = 0, written_slots = 0;  // since start
};

// What others may know of a memory at any time, without waiting for a turn.
struct MemoryFigures {
  std::string name;
  MemoryUid uid;
  MemorySpec spec;
  MemoryState state = MemoryState::kLoading;
  absl::Status why;                // kReadOnly, kFailed
  Epoch epoch;
  Turn turn;
  Step step;
  Hash128 state_hash;
  uint64_t live_count = 0;
  uint64_t distinct_values = 0;
  uint32_t shards = 0;
  std::string index;
  uint64_t ram_bytes = 0;
  uint64_t stored_bytes = 0;
  uint32_t sessions = 0;
  uint64_t slots_loaded = 0;
  uint64_t slots_to_load = 0;
  Turn first_kept_turn;
  uint64_t mailbox_rows = 0;       // waiting now
  uint64_t mailbox_bytes = 0;      // of what waits
  uint64_t uncertified_rows = 0;   // since start
  std::string degraded;            // why a shard does without its device; empty: none does
  std::map<int, uint64_t> device_bytes;  // allocated, by device
  AuditFigures audit;
  std::vector<ShardLoad> shard_loads;
  uint64_t recall_found = 0, recall_missed = 0;  // neighbors of late, as RecallCheck counts them
  absl::Time last_snapshot = absl::InfinitePast();  // when the latest was made, as far as this process knows
  uint64_t last_snapshot_bytes = 0;
  std::vector<uint64_t> sampled_ages;  // ascending; of a sample of the live slots
  StoreFigures store;              // for a scrape, which asks store_figures(); else empty
};

class Executor : public std::enable_shared_from_this<Executor> {
 public:
  virtual ~Executor() = default;

  // Requires: the task's rows fit the spec. `done` of its call runs exactly once, perhaps before this returns.
  virtual void Submit(Task task) = 0;

  virtual const std::string& name() const = 0;
  virtual const MemoryUid& uid() const = 0;
  virtual const MemorySpec& spec() const = 0;
  virtual MemoryFigures figures() const = 0;
  // Of the store that it has now; zeros where there is none on a disk. Asks RocksDB, so it is for a scrape only.
  virtual StoreFigures store_figures() const { return {}; }

  // Another store in place of the memory's own, between two turns: calls are refused with LOADING meanwhile, then the
  // memory is recovered from what lies there. A FAILED memory can be given one too.
  struct Replacement {
    // Runs with the store closed, on a thread that may block; gets the numbers of what it held, or why they cannot be
    // read. After an error the old store must lie where it was.
    std::function<absl::Status(const absl::StatusOr<MetaRow>& last)> replace;
    // Once, on any thread. OK: the memory serves the new store.
    std::function<void(absl::Status)> done;
  };
  virtual void ReplaceStore(Replacement replacement) = 0;

  // For figures and metrics.
  virtual void OnSnapshot(const SnapshotReport&) {}

  // Refuses new mutations with UNAVAILABLE / DRAINING; reads go on.
  virtual void StopMutations() = 0;
  // Refuses everything new (with `why`), finishes what was accepted, then runs `done`, once, on any thread.
  virtual void Close(absl::Status why, std::function<void()> done) = 0;
};

}  // namespace evoke
