// Brings an export back: the same slots, bit for bit.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/export_file.h"
#include "evoke/client.h"

namespace evoke::cli {

struct ImportFileOptions {
  std::string name;  // of the memory; made with the file's spec if it is not there
  absl::Time deadline;
  client::Clock& clock;
  client::Progress progress;
};

// Writes the file's rows in chunks, each exactly once. Rows whose written step the memory's step has reached
// are in: so a broken import goes on, and a memory that holds anything else is refused (FAILED_PRECONDITION /
// SLOT_TAKEN). At the end step and state hash are compared (DATA_LOSS / STATE_DIFFERS). Requires: `file` was
// verified. Returns: the state of the memory.
absl::StatusOr<client::StateHashResult> ImportFile(client::Client& client, const ExportFile& file,
                                                   const ImportFileOptions& options);

}  // namespace evoke::cli
