#include "storage/disk_probe.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "storage/file_util.h"

namespace evoke {
namespace {

// More than what opening a store writes at once when its log is empty: a manifest, a log and some blocks.
constexpr size_t kProbeBytes = 1 << 20;

absl::Status WriteAndSync(int fd, const std::string& file) {
  const std::string zeros(64 << 10, '\0');
  for (size_t written = 0; written < kProbeBytes;) {
    const ssize_t n = ::write(fd, zeros.data(), zeros.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError("write", file, errno);
    written += static_cast<size_t>(n);
  }
  return ::fsync(fd) == 0 ? absl::OkStatus() : FileError("fsync", file, errno);
}

}  // namespace

absl::StatusOr<uint64_t> FreeBytes(const std::string& folder) {
  struct statvfs found;
  if (::statvfs(folder.c_str(), &found) != 0) return FileError("statvfs", folder, errno);
  return uint64_t{found.f_bavail} * found.f_frsize;
}

absl::Status TryWrite(const std::string& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (fd < 0) return FileError("create", file, errno);
  const absl::Status status = WriteAndSync(fd, file);
  ::close(fd);
  ::unlink(file.c_str());
  return status;
}

}  // namespace evoke
