// A memory on a server: reading it, training it, clearing it.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "evoke/error_details.h"
#include "evoke/requests.h"
#include "evoke/types.h"

namespace evoke::client {

struct ExportRequest;
struct ExportSink;
struct ImportResult;
struct ImportRowsRequest;
struct ImportSlotsRequest;
struct MemoryCore;
struct RestoreResult;
struct Snapshot;
struct SnapshotName;

struct CallOptions {
  std::optional<absl::Duration>
      deadline;                      // of this call, all attempts together; absent: ClientOptions::deadline
  std::optional<uint64_t> epoch;     // refuse (STALE_MEMORY) when the content was cleared since
  std::optional<uint64_t> min_turn;  // answer only from a state of at least this turn; waits for it
  std::optional<MutationId> resume;  // ErrorDetails::mutation of a write whose outcome is unknown: the same
                                     // request, brought to its end. INVALID_ARGUMENT when this client does
                                     // not hold it (any more)
};

// Where a long call stands: `phase` is "checkpoint", "check", "hash", "copy" or "restore"; bytes, or rows in
// "check"; total 0: not known.
using Progress = std::function<void(absl::string_view phase, uint64_t done, uint64_t total)>;

// Of a call that reads or writes a whole memory.
struct LongCallOptions {
  std::optional<absl::Duration> deadline;  // all attempts together; absent: ClientOptions::long_deadline
  Progress progress = nullptr;             // called a few times a second, by the calling thread
};

// What an asynchronous call ends with, called exactly once. It runs on a thread of gRPC, which other calls need
// to end: it must be short and must not wait for anything, least of all for another call of this library; it
// may begin one. For a request that cannot be sent at all it runs within the ...Async itself.
template <typename Result>
using Completion = absl::AnyInvocable<void(absl::StatusOr<Result>)>;
template <typename Result>
using Future = std::future<absl::StatusOr<Result>>;

// A handle; cheap to copy. It is bound to the uid that its name had when it was opened: should the name come
// to mean another memory, every call is refused with FAILED_PRECONDITION / STALE_MEMORY.
//
// Thread-safe. Independent of the life of its Client. Every call but ...Async blocks until its reply, an error
// that may not be retried, or its deadline; retry_policy.h says what is retried.
//
// Mutations (Update, TrainStep, Clear, Import) are applied at most once, however often they are sent: exactly
// once when they return OK, not at all on an error, unless ErrorDetails::outcome_unknown; then
// CallOptions::resume finds out. (The error STEP_TOO_OLD means: applied, but the server no longer has the
// reply.)
//
//   absl::StatusOr<TrainStepResult> result = memory.TrainStep({.embeddings = MatrixView::Float32(x, rows),
//                                                              .values = labels, .form =
//                                                              ReturnForm::kGradient});
class Memory {
 public:
  const std::string& name() const;
  const Id128& uid() const;
  uint32_t key_dim() const;  // floats of a key

  // Nearest neighbors and the answer for each row.
  absl::StatusOr<QueryResult> Query(const QueryRequest& request, const CallOptions& options = {});
  // Writes observations. All rows or none.
  absl::StatusOr<UpdateResult> Update(const UpdateRequest& request, const CallOptions& options = {});
  // Answers, scores and writes observations in one round trip. All rows or none.
  absl::StatusOr<TrainStepResult> TrainStep(const TrainStepRequest& request, const CallOptions& options = {});

  // The same without waiting for the reply; no thread is held meanwhile. Retries, deadlines and exactly once
  // are those of the blocking calls. The request's arrays are free again when ...Async returns. Back-pressure:
  // while ClientOptions::max_async_calls are underway, ...Async waits for one of them to complete (but not
  // inside a completion). Each mutation underway has a session of its own, so their order is anybody's guess;
  // train_pipeline.h keeps it. Nobody can cancel a call: a mutation's outcome would be unknown.
  Future<QueryResult> QueryAsync(const QueryRequest& request, const CallOptions& options = {});
  void QueryAsync(const QueryRequest& request, Completion<QueryResult> done, const CallOptions& options = {});
  Future<UpdateResult> UpdateAsync(const UpdateRequest& request, const CallOptions& options = {});
  void UpdateAsync(const UpdateRequest& request, Completion<UpdateResult> done,
                   const CallOptions& options = {});
  Future<TrainStepResult> TrainStepAsync(const TrainStepRequest& request, const CallOptions& options = {});
  void TrainStepAsync(const TrainStepRequest& request, Completion<TrainStepResult> done,
                      const CallOptions& options = {});

  // Live slots, by slot and by value.
  absl::StatusOr<GetSlotsResult> GetSlots(const GetSlotsRequest& request, const CallOptions& options = {});
  // Frees every slot; keeps the step, adds 1 to the epoch.
  absl::StatusOr<ClearResult> Clear(const CallOptions& options = {});
  // Spec and figures.
  absl::StatusOr<MemoryDescription> Describe(const CallOptions& options = {});
  // The state as 128 bits, and the step it belongs to.
  absl::StatusOr<StateHashResult> StateHash(const CallOptions& options = {});

  // Of a state no older than the call (snapshots.h). When an attempt breaks off after the server had made
  // one, that one is taken.
  absl::StatusOr<Snapshot> CreateSnapshot(const LongCallOptions& options = {});
  // The complete ones, by epoch, turn and time: the memory's own, or those of it in a folder of backups.
  absl::StatusOr<std::vector<Snapshot>> ListSnapshots(
      const std::optional<std::string>& backup_folder = std::nullopt,
      std::optional<absl::Duration> deadline = std::nullopt);
  // The server reads every byte of it again; DATA_LOSS / CORRUPT_SNAPSHOT names the file that is damaged.
  absl::StatusOr<Snapshot> VerifySnapshot(const SnapshotName& name, const LongCallOptions& options = {});
  // To a folder below the server's backup-dir; what was copied before is not copied again.
  absl::StatusOr<Snapshot> CopySnapshot(const std::string& id, const std::string& backup_folder,
                                        const LongCallOptions& options = {});
  // False when it was gone already, as it may be when the request had to be repeated.
  absl::StatusOr<bool> DeleteSnapshot(const std::string& id,
                                      std::optional<absl::Duration> deadline = std::nullopt);
  // Back to the content of a snapshot, in place: epoch + 1, slots and step those of the snapshot. All
  // handles of this client go on with new sessions; what they had in flight was undone with the rest or is
  // refused (SESSION_UNKNOWN): none lands on the restored content.
  absl::StatusOr<RestoreResult> RestoreSnapshot(const SnapshotName& name,
                                                const LongCallOptions& options = {});

  // The memory at one turn, oldest slot first (transfers.h); others may go on writing. An attempt that breaks
  // off is continued behind its last row; EXPORT_CHANGED when the memory went on meanwhile.
  absl::Status Export(const ExportRequest& request, const ExportSink& sink,
                      const LongCallOptions& options = {});
  // One chunk of rows, all or none, alone in its turn.
  absl::StatusOr<ImportResult> Import(const ImportSlotsRequest& request, const CallOptions& options = {});
  absl::StatusOr<ImportResult> Import(const ImportRowsRequest& request, const CallOptions& options = {});

 private:
  friend class Client;
  friend class TrainPipeline;
  explicit Memory(std::shared_ptr<MemoryCore> core) : core_(std::move(core)) {}

  std::shared_ptr<MemoryCore> core_;
};

}  // namespace evoke::client
