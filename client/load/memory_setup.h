// The memory that is put under load: made, filled, or found.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/load/options.h"
#include "client/load/row_source.h"
#include "evoke/client.h"

namespace evoke::load {

// Makes the memory if asked to, or opens it. With `fresh` one that exists already is an error.
absl::StatusOr<client::Memory> OpenMemory(client::Client& client, const MemoryOptions& options, bool fresh);

// The options with what depends on the memory filled in: dim, and values where it is 0 (an eighth of the
// capacity, so that a value has some slots and not all rows are hits).
RowSource::Options RowsFor(RowSource::Options rows, const client::MemoryDescription& memory);

// Writes new rows until the memory has `live_slots`; nothing when it has more. What it writes depends on
// `rows` and on how many are there. `note` is told how many there are, now and then; `stop` asked whether to
// end early, which is CANCELLED.
absl::Status Fill(client::Memory memory, const RowSource& rows, const client::Limits& limits,
                  uint64_t live_slots, const std::function<void(uint64_t live_slots)>& note,
                  const std::function<bool()>& stop);

}  // namespace evoke::load
