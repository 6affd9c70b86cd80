#include "server/memory/state_hash.h"

#include <xxhash.h>

#include <bit>
#include <cstring>

#include "absl/container/fixed_array.h"

namespace evoke {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes are over little-endian bytes");
static_assert(sizeof(float) == 4);

struct Head {
  uint64_t slot;
  int64_t value;
  uint64_t written_step;
  uint32_t hits;
  uint32_t zero;
};
static_assert(sizeof(Head) == 32);  // no padding: raw bytes are the record's

// A record of 4,096 dimensions, the most that a spec allows, still lies on the stack.
constexpr size_t kStackBytes = sizeof(Head) + sizeof(float) * 4096;

}  // namespace

// One contiguous record and one call: XXH3's streaming state is larger than most records, and setting it up
// costs more than copying a key that is about to be read anyway.
Hash128 SlotHash(uint64_t slot, int64_t value, uint64_t written_step, uint32_t hits,
                 absl::Span<const float> key) {
  const Head head{slot, value, written_step, hits, 0};
  const size_t key_bytes = key.size() * sizeof(float);
  absl::FixedArray<char, kStackBytes> record(sizeof(Head) + key_bytes);
  std::memcpy(record.data(), &head, sizeof(Head));
  std::memcpy(record.data() + sizeof(Head), key.data(), key_bytes);
  const XXH128_hash_t hash = XXH3_128bits(record.data(), record.size());
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace evoke
