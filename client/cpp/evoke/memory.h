// A memory on a server: reading it, training it, clearing it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "evoke/error_details.h"
#include "evoke/requests.h"
#include "evoke/types.h"

namespace evoke::client {

struct MemoryCore;

struct CallOptions {
  std::optional<absl::Duration>
      deadline;                      // of this call, all attempts together; absent: ClientOptions::deadline
  std::optional<uint64_t> epoch;     // refuse (STALE_MEMORY) when the content was cleared since
  std::optional<uint64_t> min_turn;  // answer only from a state of at least this turn; waits for it
  std::optional<MutationId> resume;  // ErrorDetails::mutation of a write whose outcome is unknown: the same
                                     // request, brought to its end. INVALID_ARGUMENT when this client does
                                     // not hold it (any more)
};

// A handle; cheap to copy. It is bound to the uid that its name had when it was opened: should the name come
// to mean another memory, every call is refused with FAILED_PRECONDITION / STALE_MEMORY.
//
// Thread-safe. Independent of the life of its Client. Every call blocks until its reply, an error that may
// not be retried, or its deadline; retry_policy.h says what is retried.
//
// Mutations (Update, TrainStep, Clear) are applied at most once, however often they are sent: exactly once
// when they return OK, not at all on an error, unless ErrorDetails::outcome_unknown; then CallOptions::resume
// finds out. (The error STEP_TOO_OLD means: applied, but the server no longer has the reply.)
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
  // Live slots, by slot and by value.
  absl::StatusOr<GetSlotsResult> GetSlots(const GetSlotsRequest& request, const CallOptions& options = {});
  // Frees every slot; keeps the step, adds 1 to the epoch.
  absl::StatusOr<ClearResult> Clear(const CallOptions& options = {});
  // Spec and figures.
  absl::StatusOr<MemoryDescription> Describe(const CallOptions& options = {});
  // The state as 128 bits, and the step it belongs to.
  absl::StatusOr<StateHashResult> StateHash(const CallOptions& options = {});

 private:
  friend class Client;
  explicit Memory(std::shared_ptr<MemoryCore> core) : core_(std::move(core)) {}

  std::shared_ptr<MemoryCore> core_;
};

}  // namespace evoke::client
