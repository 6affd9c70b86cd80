// The memories of a server: name -> executor.
//
// Names are resolved here, once, at the service edge; everything below names a memory by uid. Durable memories are in
// the data directory's catalog file, which is written before a folder is made and before one is removed, so that a
// crash leaves nothing that is not named. Ephemeral memories are in RAM only and gone with the process.
//
// Threads: thread-safe. Create and Delete block on the disk and on the io scheduler: call them from a thread that may,
// and that is none of the io scheduler's (or they could wait for each other).
// Failure: a memory that cannot be recovered is FAILED and named in List; the others go on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/thread_pool.h"
#include "server/engine/disk_guard.h"
#include "server/engine/executor.h"
#include "server/engine/memory_plan.h"
#include "storage/data_dir.h"
#include "storage/rocksdb_slot_store.h"

namespace evoke {

class Catalog {
 public:
  struct Options {
    DataDir* data_dir = nullptr;     // must outlive the catalog
    Scheduler* compute = nullptr;    // for searches and turns; must outlive the catalog, as the next two
    Scheduler* io = nullptr;         // for what may block
    Clock* clock = nullptr;
    size_t cores = 1;                // threads of `compute`
    EngineOptions engine;
    uint32_t max_memories = 1024;
    uint64_t memory_budget_bytes = 0;                     // RAM that plans of all memories may sum up to; 0: any
    uint64_t gpu_budget_bytes = 0;                        // the same of all devices together
    uint64_t keep_records_count = 4096;                   // of each memory
    uint64_t keep_records_bytes = uint64_t{64} << 20;
    std::shared_ptr<RocksDbResources> rocksdb;
    std::shared_ptr<DiskGuard> disk;                      // null: writes are tried whatever is free
    // Makes the probe of a memory; may return null. Called once a memory.
    std::function<std::unique_ptr<EngineProbe>(std::string_view memory)> make_probe;
    // Called after any memory's state changed (health follows it); must be quick.
    std::function<void()> on_state_change;
  };

  // Reads the catalog file, removes what was being deleted, and begins to recover every memory in the background.
  // DATA_LOSS when the catalog file is damaged.
  static absl::StatusOr<std::unique_ptr<Catalog>> Open(Options options);
  virtual ~Catalog() = default;

  // NOT_FOUND / MEMORY_NOT_FOUND; FAILED_PRECONDITION / STALE_MEMORY when `uid` is not zero and differs.
  virtual absl::StatusOr<std::shared_ptr<Executor>> Find(std::string_view name, const MemoryUid& uid) const = 0;
  virtual std::vector<std::shared_ptr<Executor>> List() const = 0;  // ascending name

  struct Created {
    std::shared_ptr<Executor> executor;
    bool created = false;  // false: it was there already
  };
  // What there is to plan with. Memories found at the start count too, and may exceed the budget: to refuse them
  // would be to lose access.
  struct Budget {
    uint64_t bytes = 0;    // 0: any
    uint64_t planned = 0;  // by the memories that there are, loading and failed ones too
    bool Fits(uint64_t more) const { return bytes == 0 || planned + more <= bytes; }
  };
  virtual Budget budget() const = 0;
  // Requires: a valid spec. What Create would count.
  virtual MemoryPlan Plan(const MemorySpec& spec) const = 0;

  // Requires: a valid name and spec (durability kMemory makes an ephemeral one). A zero `uid`: chosen here. An existing
  // memory of the name is OK when the uid is equal, or with `if_not_exists`, and its spec is equal; else
  // ALREADY_EXISTS / SPEC_DIFFERS naming the field, or ALREADY_EXISTS / MEMORY_EXISTS. RESOURCE_EXHAUSTED /
  // MEMORY_LIMIT when there are too many, or its plan does not fit the budget of RAM or of the devices.
  virtual absl::StatusOr<Created> Create(const std::string& name, const MemorySpec& spec, const MemoryUid& uid,
                                         bool if_not_exists) = 0;
  using Build = std::function<absl::Status(const MemoryUid& uid, const std::string& store_path)>;
  // Makes a memory whose store `build` lays at the path it is given, which does not exist and whose parent does. For a
  // durable spec. A memory of the name with this uid and an equal spec is OK; else ALREADY_EXISTS as for Create.
  virtual absl::StatusOr<Created> CreateFrom(const std::string& name, const MemorySpec& spec, const MemoryUid& uid,
                                             Build build) = 0;
  // The uid that was deleted; zero when `uid` was given and it is gone already. NOT_FOUND without a uid.
  virtual absl::StatusOr<MemoryUid> Delete(const std::string& name, const MemoryUid& uid) = 0;

  virtual bool loading() const = 0;  // some memory is
  // Refuses new mutations everywhere.
  virtual void StopMutations() = 0;
  // Finishes what was accepted and closes every store; returns when done, or DEADLINE_EXCEEDED at `deadline`: some
  // stores are then still open, and what was not acknowledged may be lost with the process.
  virtual absl::Status Close(absl::Time deadline) = 0;
};

// True for 1 to 128 of letters, digits, '.', '_', '-', not beginning with '.' or '-'.
bool IsValidMemoryName(std::string_view name);

}  // namespace evoke
