#include "storage/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/file_util.h"

namespace evoke {
namespace fs = std::filesystem;
namespace {

constexpr uint32_t kVersion = 1;
constexpr char kFormatPrefix[] = "evoke-data ";

absl::StatusOr<int> TakeLock(const std::string& dir) {
  const std::string path = dir + "/LOCK";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return FileError("open", path, errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    ::close(fd);
    if (error != EWOULDBLOCK) return FileError("lock", path, error);
    const absl::StatusOr<std::string> owner = ReadFile(path);
    return absl::AbortedError(absl::StrCat("data directory ", dir, " is in use by process ",
                                           owner.ok() && !owner->empty() ? *owner : "(unknown)"));
  }
  // Who has it, for the message above; the lock is what counts.
  const std::string pid = absl::StrCat(::getpid());
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    ::close(fd);
    return FileError("write", path, error);
  }
  return fd;
}

// True when a directory without FORMAT may become ours: it is new, or a crash came between LOCK and FORMAT.
absl::StatusOr<bool> IsBlank(const std::string& dir) {
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name == "tmp") {
      std::error_code inner;
      for (fs::directory_iterator in(it->path(), inner), none; !inner && in != none; in.increment(inner)) {
        if (in->path().filename() != "FORMAT") return false;
      }
      if (inner) return FileError("list", it->path().string(), inner.value());
    } else if (name != "LOCK" && name != "lost+found") {
      return false;
    }
  }
  if (error) return FileError("list", dir, error.value());
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path) {
  if (absl::Status s = MakeDirectory(path); !s.ok()) return s;
  absl::StatusOr<int> lock = TakeLock(path);
  if (!lock.ok()) return lock.status();
  std::unique_ptr<DataDir> dir(new DataDir(path, *lock));
  if (absl::Status s = dir->CheckFormat(); !s.ok()) return s;
  for (const std::string& folder : {dir->MemoriesPath(), path + "/tmp"}) {
    if (absl::Status s = MakeDirectory(folder); !s.ok()) return s;
  }
  if (absl::Status s = dir->EmptyTmp(); !s.ok()) return s;
  return dir;
}

DataDir::~DataDir() {
  ::close(lock_fd_);
}

absl::Status DataDir::CheckFormat() {
  const std::string path = path_ + "/FORMAT";
  const absl::StatusOr<std::string> line = ReadFile(path);
  if (absl::IsNotFound(line.status())) {
    const absl::StatusOr<bool> blank = IsBlank(path_);
    if (!blank.ok()) return blank.status();
    if (!*blank) {
      return absl::FailedPreconditionError(absl::StrCat(
          path_, " holds files but no FORMAT: it is no data directory, and nothing in it was touched"));
    }
    if (absl::Status s = MakeDirectory(path_ + "/tmp"); !s.ok()) return s;
    return WriteFile("FORMAT", absl::StrCat(kFormatPrefix, kVersion, "\n"));
  }
  if (!line.ok()) return line.status();
  absl::string_view text = *line;
  uint32_t version = 0;
  // To the byte, for SimpleAtoi would also take " 1" or "+1": this file says that the others are ours.
  if (!absl::ConsumePrefix(&text, kFormatPrefix) || !absl::ConsumeSuffix(&text, "\n") ||
      !absl::SimpleAtoi(text, &version) || version == 0 || text != absl::StrCat(version)) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged, expected one line \"", kFormatPrefix, kVersion, "\""));
  }
  if (version > kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, " has format ", version, ", this program reads ", kVersion));
  }
  return absl::OkStatus();
}

absl::Status DataDir::EmptyTmp() {
  std::error_code error;
  for (fs::directory_iterator it(path_ + "/tmp", error), end; !error && it != end; it.increment(error)) {
    std::error_code removal;
    fs::remove_all(it->path(), removal);
    if (removal) return FileError("remove", it->path().string(), removal.value());
  }
  return error ? FileError("list", path_ + "/tmp", error.value()) : absl::OkStatus();
}

absl::Status DataDir::MakeMemoryFolder(const MemoryUid& uid) {
  return MakeDirectory(MemoryFolder(uid));
}

absl::Status DataDir::RemoveMemoryFolder(const MemoryUid& uid) {
  // Out of memories/ in one step first: half a folder is never seen, and a crash leaves the rest to EmptyTmp.
  const std::string folder = MemoryFolder(uid);
  const std::string doomed = TmpPath(absl::StrCat("removed-", uid.ToString()));
  std::error_code error;
  fs::remove_all(doomed, error);
  if (::rename(folder.c_str(), doomed.c_str()) != 0) {
    return errno == ENOENT ? absl::OkStatus() : FileError("rename", folder, errno);
  }
  if (absl::Status s = SyncDirectory(MemoriesPath()); !s.ok()) return s;
  fs::remove_all(doomed, error);
  return error ? FileError("remove", doomed, error.value()) : absl::OkStatus();
}

// The store is `store`, or while that is not there `store.next`: the first rename below that is durable decides.
absl::Status DataDir::ReplaceStore(const MemoryUid& uid, const std::string& from) {
  const std::string folder = MemoryFolder(uid), store = StorePath(uid);
  if (absl::Status s = FinishReplacement(uid); !s.ok()) return s;
  if (::rename(from.c_str(), (folder + "/store.next").c_str()) != 0) return FileError("rename", from, errno);
  if (absl::Status s = SyncDirectory(folder); !s.ok()) return s;
  if (::rename(store.c_str(), (folder + "/store.old").c_str()) != 0) return FileError("rename", store, errno);
  return FinishReplacement(uid);
}

absl::Status DataDir::FinishReplacement(const MemoryUid& uid) {
  const std::string folder = MemoryFolder(uid), store = StorePath(uid), next = folder + "/store.next";
  std::error_code error;
  if (!fs::exists(store, error) && fs::exists(next, error)) {
    if (::rename(next.c_str(), store.c_str()) != 0) return FileError("rename to", store, errno);
  }
  for (const std::string& left : {folder + "/store.old", next}) {
    if (!fs::exists(left, error)) continue;
    if (absl::Status s = SyncDirectory(folder); !s.ok()) return s;
    fs::remove_all(left, error);
    if (error) return FileError("remove", left, error.value());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> DataDir::MakeSnapshotsFolder(const MemoryUid& uid) {
  const std::string path = SnapshotsPath(uid);
  if (absl::Status s = MakeDirectory(path); !s.ok()) return s;
  return path;
}

absl::StatusOr<bool> DataDir::HasMemoryFolders() const {
  std::error_code error;
  const bool empty = fs::is_empty(MemoriesPath(), error);
  if (error) return FileError("list", MemoriesPath(), error.value());
  return !empty;
}

absl::Status DataDir::WriteFile(std::string_view name, std::string_view content) {
  return WriteFileAtomically(absl::StrCat(path_, "/", std::string(name)), TmpPath(name), content);
}

}  // namespace evoke
