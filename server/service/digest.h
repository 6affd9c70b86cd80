// The digest by which a retry is told from another request under the same number (STEP_REUSED).
#pragma once

#include "server/engine/task.h"

namespace evoke {

// XXH3-128 over method, rows, values, write and skip flags, payloads and what is to be returned, as decoded:
// the element type on the wire, or bits that spell out a default, make no difference. Rows with skip count as
// zeros. Not covered: the mutation (a retry may acknowledge more) and the memory. Stored: the encoding never
// changes. Requires: call.rows.unit is as sent, before normalisation.
Hash128 DigestOf(const ObserveCall& call);
Hash128 DigestOf(const ImportCall& call);  // with its keys normalised
Hash128 DigestOfClear();

}  // namespace evoke
