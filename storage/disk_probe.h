// Whether the disk below a folder takes writes, and how much more of them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evoke {

// Bytes that a process without privileges can still write there, as the file system says (statvfs).
absl::StatusOr<uint64_t> FreeBytes(const std::string& folder);

// Makes `file`, 1 MiB of zeros, syncs and removes it. UNAVAILABLE as file_util.h when any of that fails; what was
// made is then removed too. Blocks as long as the disk does.
absl::Status TryWrite(const std::string& file);

}  // namespace evoke
