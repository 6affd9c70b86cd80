// What a memory will take before anything of it is made: the one formula that Create checks, that a dry run answers
// and that `evokectl plan` shows.
//
// Bytes are what a full memory takes whose values are all different, the worst case; the estimates of time are what
// their name says. Not in it: what all memories share (block cache and write buffers, by options) and what waits in
// mailboxes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "server/engine/executor.h"
#include "server/memory/memory_spec.h"

namespace evoke {

struct MemoryPlan {
  uint64_t ram_bytes = 0;      // the three below: what counts against the budget
  uint64_t table_bytes = 0;    // keys, values, steps, orders, the map of values
  uint64_t index_bytes = 0;    // what the index keeps besides
  uint64_t session_bytes = 0;  // of as many sessions as a memory may have
  // At most, when every slot has as many of the largest payloads as are kept. On disk; of an ephemeral memory: RAM
  // beyond ram_bytes, which is not checked, since few memories come near it.
  uint64_t payload_bytes = 0;
  uint64_t disk_bytes = 0;  // at most: the three below and the payloads; 0 for an ephemeral memory
  uint64_t disk_slot_bytes = 0;
  uint64_t disk_record_bytes = 0;    // turn records and replies that are kept
  uint64_t disk_headroom_bytes = 0;  // the log, and files that are being merged beside what they become
  uint64_t gpu_bytes = 0;                // on all devices together, at most
  double recovery_seconds_estimate = 0;  // from a full store
  double scan_seconds_estimate = 0;      // of all keys for one row, by one core
};

struct PlanOptions {
  EngineOptions engine;
  size_t cores = 1;                  // threads of the compute scheduler
  uint64_t keep_records_bytes = 0;   // turn records kept of a memory
  uint64_t max_payload_bytes = 4096;
};

// How many shards a memory is cut into: where nothing is asked for, one a device of an index on one, else what is worth it.
uint32_t ShardCount(const MemorySpec& spec, const EngineOptions& engine, size_t cores);

// Requires: a valid spec. INVALID_ARGUMENT for an index that there is not.
absl::StatusOr<MemoryPlan> PlanOf(const MemorySpec& spec, const PlanOptions& options);

}  // namespace evoke
