// What a memory is: durable and immutable from Create on (semantics.md, section 1).
//
// The server fills in defaults once, at Create; from then on a spec is complete. Its digest names it on disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/ids.h"

namespace evoke {

enum class WriteRuleKind : uint8_t { kRareEvents = 1 };  // stored: never renumber
enum class BatchMode : uint8_t { kAtomic = 1, kSequential = 2 };
enum class SpecDurability : uint8_t { kMemory = 1, kWal = 2, kFsync = 3 };

struct MemorySpec {
  uint32_t key_dim = 0;        // d: 1 to 4,096
  uint64_t capacity = 0;       // M: 1 to 2^31 - 1
  uint64_t seed = 0;
  WriteRuleKind write_rule = WriteRuleKind::kRareEvents;
  uint32_t choose_k = 256;     // 1 to 1,024
  float margin = 0.1f;         // alpha: finite, >= 0
  double inverse_temperature = 40;  // t: finite, > 0
  uint32_t age_noise = 0;      // observations: 0 to min(65,536, capacity / 4)
  BatchMode batch = BatchMode::kAtomic;
  std::optional<float> merge_on_miss;  // -1 to 1
  std::optional<float> fold_misses;    // -1 to 1
  uint32_t payload_history = 4;        // 0 to 16
  uint32_t partitions = 64;            // P: a power of two, 1 to 65,536
  SpecDurability durability = SpecDurability::kFsync;

  static uint32_t DefaultAgeNoise(uint64_t capacity);
  friend bool operator==(const MemorySpec&, const MemorySpec&) = default;
};

// INVALID_ARGUMENT naming the field, its bounds and the value observed.
absl::Status ValidateSpec(const MemorySpec& spec);

// Name of the first field in which the two differ, with both values ("key_dim: 64, not 128"); empty when equal.
std::string SpecDifference(const MemorySpec& existing, const MemorySpec& wanted);

// Versioned, deterministic bytes, and back (DATA_LOSS when they are none).
std::string EncodeSpec(const MemorySpec& spec);
absl::StatusOr<MemorySpec> DecodeSpec(std::string_view bytes);
// XXH3-128 of EncodeSpec.
Hash128 SpecDigest(const MemorySpec& spec);

}  // namespace evoke
