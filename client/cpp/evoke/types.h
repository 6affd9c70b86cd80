// What memories and servers are described by. Plain values; the protos' comments are the contract, field by
// field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evoke/id128.h"

namespace evoke::client {

// Enumerators have the numbers of the protos; a newer server may send ones that are not named here.
enum class WriteRule : int { kUnspecified = 0, kRareEvents = 1 };
enum class BatchMode : int { kUnspecified = 0, kAtomic = 1, kSequential = 2 };
enum class Durability : int { kUnspecified = 0, kMemory = 1, kWal = 2, kFsync = 3 };
enum class MemoryState : int {
  kUnspecified = 0,
  kLoading = 1,   // recovering from disk
  kServing = 2,   // reads and writes
  kReadOnly = 3,  // the disk refuses writes; reads go on
  kFailed = 4,    // could not be recovered
  kDraining = 5,  // the server is stopping
};
enum class ServerState : int { kUnspecified = 0, kLoading = 1, kServing = 2, kDraining = 3 };
enum class ServingStatus : int { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// Durable and immutable. What is absent or kUnspecified gets the server's default, named here.
struct MemorySpec {
  uint32_t key_dim = 0;                            // required, 1 to 4,096: floats of a key
  uint64_t capacity = 0;                           // required, 1 to 2^31 - 1: slots
  uint64_t seed = 0;                               // of the random choice among the oldest slots
  WriteRule write_rule = WriteRule::kUnspecified;  // kRareEvents
  std::optional<uint32_t> choose_k;                // 1 to 1,024 neighbors that a decision looks at; 256
  std::optional<float> margin;                     // of the loss, finite, >= 0; 0.1
  std::optional<double> inverse_temperature;       // of the softmax, finite, > 0; 40
  std::optional<uint32_t> age_noise;  // observations, 0 (strictly oldest) to 65,536, at most capacity / 4;
                                      // min(capacity / 64, 4,096)
  BatchMode batch = BatchMode::kUnspecified;         // kAtomic
  std::optional<float> merge_on_miss;                // similarity, -1 to 1; absent: off
  std::optional<float> fold_misses;                  // similarity, -1 to 1; absent: off
  std::optional<uint32_t> payload_history;           // 0 to 16 payloads kept a slot; 4
  std::optional<uint32_t> partitions;                // a power of two, 1 to 65,536; 64
  Durability durability = Durability::kUnspecified;  // kFsync

  friend bool operator==(const MemorySpec&, const MemorySpec&) = default;
};

// In every reply: which state it reflects.
struct ReplyHeader {
  std::string memory;                                // name
  Id128 uid;                                         // new at Create
  uint64_t epoch = 0;                                // 1 at Create, + 1 at Clear
  uint64_t term = 0;                                 // who may write
  uint64_t turn = 0;                                 // grows with every change
  uint64_t step = 0;                                 // observations written until then
  Durability durability = Durability::kUnspecified;  // of that state
  Id128 instance;                                    // new at every start of the server
};

struct MemoryDescription {
  std::string name;
  Id128 uid;
  MemorySpec spec;  // with all defaults filled in
  MemoryState state = MemoryState::kUnspecified;
  uint64_t epoch = 0;
  uint64_t turn = 0;
  uint64_t step = 0;
  uint64_t live_slots = 0;
  uint64_t distinct_values = 0;
  std::string state_hash;  // 32 hex digits
  uint32_t shards = 0;     // parts searched in parallel
  std::string index;       // search structure
  uint64_t ram_bytes = 0;
  uint64_t stored_bytes = 0;
  uint32_t sessions = 0;      // that can still retry
  uint64_t slots_loaded = 0;  // while kLoading: of slots_to_load
  uint64_t slots_to_load = 0;
  std::string message;           // why, when kReadOnly or kFailed
  uint64_t first_kept_turn = 0;  // first turn whose record is kept
};

// What the server refuses.
struct Limits {
  uint64_t max_message_bytes = 0;
  uint32_t max_rows = 0;
  uint32_t max_k = 0;
  uint64_t max_payload_bytes = 0;
  uint64_t mailbox_rows = 0;
  uint32_t max_unacknowledged = 0;
  uint32_t max_sessions = 0;
  uint32_t max_memories = 0;
  uint64_t mailbox_bytes = 0;
  uint32_t max_turn_rows = 0;
  uint64_t memory_budget_bytes = 0;  // RAM that all memories may plan for; 0: any
  uint64_t memory_planned_bytes = 0;
  uint32_t max_open_exports = 0;
  uint32_t max_metadata_bytes = 0;
};

// What a memory would take: bytes of a full one whose values all differ. The fields of evoke.v1.MemoryPlan.
struct MemoryPlan {
  MemorySpec spec;             // with all defaults filled in
  bool fits = false;           // planned_bytes + ram_bytes is within budget_bytes
  uint64_t ram_bytes = 0;      // tables, index and sessions
  uint64_t table_bytes = 0;
  uint64_t index_bytes = 0;
  uint64_t session_bytes = 0;
  uint64_t payload_bytes = 0;  // at most; on disk, and of an ephemeral memory in RAM beyond ram_bytes
  uint64_t disk_bytes = 0;     // at most, payloads included
  uint64_t disk_slot_bytes = 0;
  uint64_t disk_record_bytes = 0;
  uint64_t disk_headroom_bytes = 0;
  uint64_t gpu_bytes = 0;
  double recovery_seconds_estimate = 0;
  double scan_seconds_estimate = 0;  // all keys against one row, by one core
  uint64_t budget_bytes = 0;         // of the server; 0: any
  uint64_t planned_bytes = 0;        // for the memories that there are
};

// What an operator should look at: "disk" (writes are refused) or "corrupt" (nothing is served).
struct Alarm {
  std::string name;
  std::string memory;
  std::string message;
  double active_seconds = 0;
};

struct ServerStatus {
  std::string version;
  Id128 instance;
  ServerState state = ServerState::kUnspecified;
  double uptime_seconds = 0;
  std::string simd;
  std::string arithmetic_fingerprint;  // equal ones give equal bits
  Limits limits;
  std::vector<MemoryDescription> memories;  // ascending name
  std::vector<Alarm> alarms;                // that are active; empty when all is well
};

}  // namespace evoke::client
