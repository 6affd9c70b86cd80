// Looks, slice by slice and at a bounded rate, whether what a memory serves, what its index copied and what its store
// holds are still the same: bits of RAM and disk do flip, and nobody would notice.
//
//   Grant once a second -> while due(), between turns: RunSlice
//
// A slice is a run of slots of one partition. The index is compared with the table of keys and repaired from it. The
// table is compared with the rows of the store, whose checksums are verified on the way; of these two nobody can say
// which is right, so nothing is changed: the memory is called corrupt, and a person decides (restore from a snapshot,
// or restart, which serves what is stored). It stays corrupt until a whole pass finds nothing. A pass goes over all
// slots; one begins a minute after the last one began, at the earliest.
//
// Threads: the memory's strand; the store is read on `io`. Failure: a slice that cannot be read is passed over, and
// its pass says nothing. Cost: a slice keeps the next turn waiting for a range of 256 rows and a look at as many keys,
// under a millisecond from a cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/thread_pool.h"
#include "server/engine/executor.h"
#include "server/engine/shard.h"
#include "storage/slot_store.h"

namespace evoke {

class SelfAudit {
 public:
  struct Options {
    std::string memory;             // name, for the log
    uint64_t capacity = 0;
    uint32_t partitions = 1;
    uint32_t slots_per_second = 0;  // 0: none
  };
  explicit SelfAudit(Options options) : options_(std::move(options)) {}

  // Effect: as much as a second allows may be looked at from now on; what was left of the last one is forgotten.
  void Grant(absl::Time now);
  bool due() const { return !resting_ && allowance_ > 0; }

  // What a slice needs; all outlive it. `store` null: slots are not stored.
  struct Memory {
    const SlotStore* store = nullptr;
    Scheduler* io = nullptr;
    Strand* strand = nullptr;
    std::function<void(AuditRequest, Shard::Done<AuditAnswer>)> ask;  // the shard of the partition
  };
  // Requires: due(); until `done`, which runs on the strand, no turn runs and the store stays.
  void RunSlice(Memory memory, std::function<void()> done);

  const AuditFigures& figures() const { return figures_; }

 private:
  uint64_t BlocksOf(uint64_t partition) const;
  void Take(const AuditRequest& request, const absl::Status& read, const absl::StatusOr<AuditAnswer>& answer);
  void Differs(const std::string& what);
  void EndPass();

  const Options options_;
  AuditFigures figures_;
  absl::Time pass_began_ = absl::InfinitePast();
  bool resting_ = true;      // between passes
  bool pass_clean_ = true;   // so far, and nothing was passed over
  uint64_t allowance_ = 0;   // slots
  uint64_t partition_ = 0;   // where the next slice begins
  uint64_t block_ = 0;
};

}  // namespace evoke
