// A live slot's term of the state hash (semantics.md, section 1).
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "storage/ids.h"

namespace evoke {

// XXH3-128 (seed 0) of the record slot u64 | value i64 | written_step u64 | hits u32 | 0 u32 | key float32[d],
// little-endian, raw bits. The state hash of a memory is the sum of its live slots' modulo 2^128. Pure.
Hash128 SlotHash(uint64_t slot, int64_t value, uint64_t written_step, uint32_t hits, absl::Span<const float> key);

}  // namespace evoke
