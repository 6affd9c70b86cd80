// Makes an export file out of raw columns.
#pragma once

#include <array>
#include <string>

#include "absl/status/status.h"
#include "client/cli/export_columns.h"
#include "client/cli/output.h"
#include "evoke/memory.h"

namespace evoke::cli {

// Writes `path`, which is replaced, and syncs it. `header` gets "format" and "members". Reads every column
// twice: the header comes first, with the checksums. Failure: UNAVAILABLE naming the file; beside `path` may
// then lie a temporary one, named like it with a suffix.
absl::Status WriteExportFile(const std::string& path, Json header, const ExportCounts& counts,
                             const std::array<std::string, kColumnCount>& raw_paths,
                             const client::Progress& progress);

}  // namespace evoke::cli
