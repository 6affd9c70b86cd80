// The few file operations whose order matters after power loss.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evoke {

// "operation path: what the system says". NOT_FOUND for a missing file, UNAVAILABLE for everything else (disk
// full, input/output error, read-only file system): a disk can recover.
absl::Status FileError(const std::string& operation, const std::string& path, int error_number);

// Makes what was created, renamed or removed in the directory last.
absl::Status SyncDirectory(const std::string& path);

// Creates the directory unless it is there, durably in its parent. Requires: the parent exists.
absl::Status MakeDirectory(const std::string& path);

// Replaces `path` as a whole: after a crash it holds the old content or the new. `temporary` must be in the
// same file system; what lies there is overwritten.
absl::Status WriteFileAtomically(const std::string& path, const std::string& temporary,
                                 std::string_view content);

absl::StatusOr<std::string> ReadFile(const std::string& path);

// Makes the content of a file that was written by other means last.
absl::Status SyncFile(const std::string& path);

}  // namespace evoke
