// The entrance of the client library: a server, and the memories on it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "evoke/client_options.h"
#include "evoke/memory.h"
#include "evoke/types.h"

namespace evoke::client {

class Connection;
struct ForkResult;
struct RestoreAsResult;

struct CreateMemoryOptions {
  bool if_not_exists = false;              // a memory of that name with an equal spec is OK
  std::optional<absl::Duration> deadline;  // of this call; absent: ClientOptions::deadline
};

struct CreateMemoryResult {
  Memory memory;
  ReplyHeader header;
  MemorySpec spec;       // with all defaults filled in
  bool created = false;  // by this call; false: it was there already
};

struct DeleteMemoryOptions {
  std::optional<Id128> uid;  // delete only this one, and OK when it is gone; absent: the one of that name
  std::optional<absl::Duration> deadline;  // of this call
};

struct DeleteMemoryResult {
  Id128 uid;             // of the memory that was deleted; empty when it was gone already
  bool deleted = false;  // false: it was gone already
};

// Thread-safe. Every call blocks until its reply, an error that may not be retried, or its deadline; all are
// safe to repeat and are (retry_policy.h). Errors carry ErrorDetails. Handles keep what they need alive, so a
// Client may go before its memories.
//
//   absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect({.addresses = {"127.0.0.1:7380"}});
//   auto created = (*client)->CreateMemory("faces", {.key_dim = 128, .capacity = 8192}, {.if_not_exists =
//   true}); auto answer = created->memory.Query({.embeddings = MatrixView::Float32(x, rows)});
class Client {
 public:
  using Deadline = std::optional<absl::Duration>;  // absent: ClientOptions::deadline

  // INVALID_ARGUMENT for options out of bounds. Makes no contact: an absent server shows in the first call.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ClientOptions options = {});
  // Waits until every asynchronous call on its memories has ended and its completion has run, at the latest
  // when the last of their deadlines passes; does not wait inside a completion.
  ~Client();

  // The memory that `name` means now; NOT_FOUND / MEMORY_NOT_FOUND when it means none. One whose data is lost
  // has a handle too: it can be restored.
  absl::StatusOr<Memory> OpenMemory(const std::string& name, Deadline deadline = {});
  absl::StatusOr<MemoryDescription> DescribeMemory(const std::string& name, Deadline deadline = {});

  // `name`: 1 to 128 of letters, digits, '.', '_', '-', not beginning with '.' or '-'.
  absl::StatusOr<CreateMemoryResult> CreateMemory(const std::string& name, const MemorySpec& spec,
                                                  const CreateMemoryOptions& options = {});
  // What such a memory would take on this server, which makes nothing: OK whether it fits or not.
  absl::StatusOr<MemoryPlan> PlanMemory(const MemorySpec& spec, Deadline deadline = {});
  // Of all memories, ascending name.
  absl::StatusOr<std::vector<MemoryDescription>> ListMemories(Deadline deadline = {});
  // Removes a memory and its data. NOT_FOUND when no uid was given and there is none of that name.
  absl::StatusOr<DeleteMemoryResult> DeleteMemory(const std::string& name,
                                                  const DeleteMemoryOptions& options = {});

  // A copy under a new name: spec, step, slots and payloads of one turn (snapshots.h). ALREADY_EXISTS when
  // the name is taken.
  absl::StatusOr<ForkResult> ForkMemory(const std::string& name, const std::string& new_name,
                                        const LongCallOptions& options = {});
  // Makes a new memory out of a snapshot of `memory`; of any with a snapshot in the backup_folder when that
  // is empty.
  absl::StatusOr<RestoreAsResult> RestoreSnapshotAs(const std::string& new_name, const SnapshotName& snapshot,
                                                    const std::string& memory = "",
                                                    const LongCallOptions& options = {});
  // Snapshots of any memory in a folder below the server's backup-dir; "" is that itself.
  absl::StatusOr<std::vector<Snapshot>> ListBackups(const std::string& backup_folder, Deadline deadline = {});
  absl::StatusOr<Snapshot> VerifyBackup(const std::string& backup_folder, const std::string& id,
                                        const LongCallOptions& options = {});

  // Version, readiness, limits, and where recovery stands.
  absl::StatusOr<ServerStatus> Status(Deadline deadline = {});
  // grpc.health.v1 Check: "" for the whole server, or a service's full name; NOT_FOUND for one that is not
  // known.
  absl::StatusOr<ServingStatus> Health(const std::string& service = "", Deadline deadline = {});

 private:
  explicit Client(std::shared_ptr<Connection> connection);

  // The shared part of all handles of one memory.
  Memory HandleOf(const std::string& name, const Id128& uid, uint32_t key_dim, uint64_t turn);

  const std::shared_ptr<Connection> connection_;
  absl::Mutex mu_;
  // By uid; of memories that somebody still has a handle of, and dead entries until the next opening.
  std::map<Id128, std::weak_ptr<MemoryCore>> cores_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::client
