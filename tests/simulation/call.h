// What a simulated client sends, and what the simulation remembers of it so that the answer can be judged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/task.h"
#include "tests/testing/model_memory.h"

namespace evoke::testing {

// A mutation as its client means it: the same in every attempt. Its digest names it in the whole simulation.
struct MutationBody {
  SessionId session;
  uint64_t number = 0;
  uint64_t opened_after = 0;
  Hash128 digest;
  bool clear = false;  // else: rows, of which at least one writes
  std::vector<ModelRow> rows;
  ObserveForm form = ObserveForm::kKeys;
};

// One attempt, or one read.
struct Call {
  enum class Read { kQuery, kSlots, kInspect, kScore };

  std::shared_ptr<const MutationBody> mutation;  // null: a read
  uint64_t first_unacknowledged = 0;
  Read read = Read::kInspect;
  std::vector<ModelRow> rows;  // of kQuery and kScore (rows that do not write)
  uint32_t k = 1;
  bool payloads = false;
  std::optional<uint64_t> epoch;
  uint64_t min_turn = 0;
  absl::Time deadline = absl::InfiniteFuture();
  absl::Time cancelled_at = absl::InfiniteFuture();

  // --- for the judge ---
  uint64_t era = 0;           // see History
  uint64_t acknowledged = 0;  // turn that somebody was told of before this was sent
  uint64_t arrived = 0;       // written turn when it came to the server
  int answers = 0;

  MutationId id() const {
    return {.session = mutation->session,
            .number = mutation->number,
            .first_unacknowledged = first_unacknowledged,
            .opened_after = mutation->opened_after,
            .digest = mutation->digest};
  }
};

// What comes back to a client.
struct Answer {
  absl::Status status;
  std::string bytes;  // of a mutation
  uint64_t turn = 0;  // that it reflects; 0 in an error
  uint64_t epoch = 0;
  uint64_t era = 0;
};

}  // namespace evoke::testing
