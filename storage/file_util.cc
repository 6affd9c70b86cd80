#include "storage/file_util.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

// Closes on return.
struct File {
  int fd;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
};

absl::Status WriteAll(int fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", path, errno);
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FileError(const std::string& operation, const std::string& path, int error_number) {
  const std::string message =
      absl::StrCat(operation, " ", path, ": ", std::generic_category().message(error_number));
  return error_number == ENOENT ? absl::NotFoundError(message) : absl::UnavailableError(message);
}

absl::Status SyncDirectory(const std::string& path) {
  const File directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.fd < 0) return FileError("open", path, errno);
  if (::fsync(directory.fd) != 0) return FileError("fsync", path, errno);
  return absl::OkStatus();
}

absl::Status SyncFile(const std::string& path) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return FileError("open", path, errno);
  if (::fsync(file.fd) != 0) return FileError("fsync", path, errno);
  return absl::OkStatus();
}

absl::Status MakeDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0750) != 0) {
    struct stat found;
    if (errno != EEXIST) return FileError("mkdir", path, errno);
    if (::stat(path.c_str(), &found) != 0 || !S_ISDIR(found.st_mode))
      return FileError("mkdir", path, ENOTDIR);
  }
  // Also when it was there: whoever made it may have died before its own sync.
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return SyncDirectory(parent.empty() ? "." : parent);
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& temporary,
                                 std::string_view content) {
  {
    const File file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)};
    if (file.fd < 0) return FileError("create", temporary, errno);
    if (absl::Status s = WriteAll(file.fd, temporary, content); !s.ok()) return s;
    if (::fsync(file.fd) != 0) return FileError("fsync", temporary, errno);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FileError("rename to", path, errno);
  return SyncDirectory(std::filesystem::path(path).parent_path().string());
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return FileError("open", path, errno);
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(file.fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError("read", path, errno);
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace evoke
