// The audit log: one line for every call that makes, empties or removes something, whatever became of it.
//
//   {"ts":"2026-11-21T13:38:27.104512Z","level":"info","msg":"audit","principal":"alice","peer":"ipv4:10.0.0.7:51034",
//    "method":"AdminService/DeleteMemory","memory":"faces","code":"OK","request_id":"3f2a9c1d-17"}
//
// In a file of its own such lines whatever the log's format is; in the log of the process lines of that format, at any
// log level.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/base/request_tag.h"
#include "server/base/mutex.h"

namespace spdlog {
class logger;
}  // namespace spdlog

namespace evoke {

struct AuditEntry {
  std::string_view principal;  // empty: it did not get so far
  std::string_view peer;
  std::string_view method;
  std::string memory;  // what the request named, several by comma; empty: it was refused before that was read
  bool dry_run = false;  // it only asked what would be
  absl::StatusCode code;
  const RequestTag& tag;
};

// Thread-safe. Write blocks for the file's write, which is flushed, not synced.
class AuditLog {
 public:
  // `path` empty: the log of the process, as it is now. INVALID_ARGUMENT when the file cannot be appended to.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);

  void Write(const AuditEntry& entry);
  // For a file that was moved away: goes on in a new one of the old name. On failure goes on in the old one.
  absl::Status Reopen();

 private:
  explicit AuditLog(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  Mutex mu_;
  std::shared_ptr<spdlog::logger> logger_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
