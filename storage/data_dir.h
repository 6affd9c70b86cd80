// The data directory of a server: who may use it, in which format it is, and where everything lies.
//
//   LOCK  FORMAT  tmp/  catalog  memories/<uid>/{store/, index/, snapshots/}
//
// An open DataDir holds the lock until it is destroyed; the system frees it when the process dies.
// Thread-safe, but for calls about one memory or one file, which must not run beside each other.
// Failure: after an error of a writing call the old or the new state is there, never a mixture.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/ids.h"

namespace evoke {

class DataDir {
 public:
  // Makes the directory if it is not there (its parent must be), takes the lock, checks or writes FORMAT,
  // empties tmp/.
  //   ABORTED              another process has it, named in the message
  //   FAILED_PRECONDITION  its format is newer (both versions named); or it holds files and is no data
  //   directory DATA_LOSS            FORMAT is damaged UNAVAILABLE          the file system refuses
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string CatalogPath() const { return path_ + "/catalog"; }
  std::string MemoryFolder(const MemoryUid& uid) const { return MemoriesPath() + "/" + uid.ToString(); }
  std::string StorePath(const MemoryUid& uid) const { return MemoryFolder(uid) + "/store"; }
  // For what is not yet published: same file system, emptied at every start.
  std::string TmpPath(std::string_view name) const { return path_ + "/tmp/" + std::string(name); }

  // Durable on return. Making one that is there, and removing one that is not, are OK.
  absl::Status MakeMemoryFolder(const MemoryUid& uid);
  // Requires: the catalog names it as one to be removed, and nothing in it is open. It is gone as a whole or
  // not at all; its files follow.
  absl::Status RemoveMemoryFolder(const MemoryUid& uid);
  // Makes `from`, a complete and synced store in tmp/, the memory's store in place of the one it has. After a crash one
  // of the two is there; FinishReplacement, which must come before a store is opened, says which.
  // Requires: neither is open.
  absl::Status ReplaceStore(const MemoryUid& uid, const std::string& from);
  absl::Status FinishReplacement(const MemoryUid& uid);
  // Where the memory's snapshots lie. Durable on return.
  absl::StatusOr<std::string> MakeSnapshotsFolder(const MemoryUid& uid);
  std::string SnapshotsPath(const MemoryUid& uid) const { return MemoryFolder(uid) + "/snapshots"; }
  // Whether any memory has a folder.
  absl::StatusOr<bool> HasMemoryFolders() const;

  // Replaces a small file of the directory as a whole. Requires: `name` has no slash.
  absl::Status WriteFile(std::string_view name, std::string_view content);

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  std::string MemoriesPath() const { return path_ + "/memories"; }
  absl::Status CheckFormat();
  absl::Status EmptyTmp();

  const std::string path_;
  const int lock_fd_;
};

}  // namespace evoke
