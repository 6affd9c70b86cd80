// Plays the turn records of a store again, and compares where they lead with where the store is.
//
// Reads only. Failure: DATA_LOSS when the two differ, naming the turn; OUT_OF_RANGE when the records do not
// reach back far enough; FAILED_PRECONDITION or INVALID_ARGUMENT when they do not lead on from there at all.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "server/tools/evoke_inspect.h"

namespace evoke {

// Applies all records from turn 1 on to an empty memory; compares the hash after every turn with the record's, and
// hash, step and chain at the end with the meta row.
absl::Status Replay(const InspectedMemory& memory, const SlotStore& store, std::ostream& out);

// The same from the state in a snapshot's folder: of this memory, or of the one that it was forked or restored from
// last. A fork or restore in between must be replayed from its own origin, which the error names.
absl::Status ReplayFrom(const InspectedMemory& memory, const SlotStore& store, const std::string& snapshot_folder,
                        std::ostream& out);

}  // namespace evoke
