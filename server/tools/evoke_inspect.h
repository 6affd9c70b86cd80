// What a store on disk holds, read offline: slots, turn records, and whether they agree.
//
// Reads only; nothing is repaired. The data directory is locked meanwhile, so no server can have it.
// Failure: DATA_LOSS naming the first row, record or sum that does not fit.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "server/memory/memory_spec.h"
#include "storage/rocksdb_slot_store.h"

namespace evoke {

struct InspectedMemory {
  std::string name;
  MemoryUid uid;
  MemorySpec spec;
};

// One line a live slot, at most `limit`, ascending in partition and slot.
absl::Status PrintSlots(const InspectedMemory& memory, const SlotStore& store, uint64_t limit, std::ostream& out);

// One line a kept record from turn `from` on (0: from the first kept), and below it one a write with `verbose`.
absl::Status PrintRecords(const SlotStore& store, Turn from, bool verbose, std::ostream& out);

// Verifies every row's checksum, the live count and the state hash against the meta row, and that the kept records
// form a chain that ends in the meta row's.
absl::Status CheckStore(const InspectedMemory& memory, const SlotStore& store, std::ostream& out);

}  // namespace evoke
