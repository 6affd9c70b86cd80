// What is asked of a memory, already validated and translated, and what it answers: plain values, no gRPC.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/request_tag.h"
#include "server/memory/batch_result.h"
#include "server/memory/slot.h"
#include "storage/ids.h"
#include "storage/slot_store.h"

namespace evoke {

// The state that an answer reflects; becomes the reply header.
struct StateName {
  std::string memory;
  MemoryUid uid;
  Epoch epoch;
  Term term;
  Turn turn;
  Step step;
  Durability durability = Durability::kFsync;
};

// The rows of a request. Rows with skip are zeros and are never read.
struct RowSet {
  uint32_t dim = 0;
  std::vector<float> unit;    // [rows, dim] float32, normalised (semantics.md, section 2)
  std::vector<float> norms;   // [rows] before that; what the gradient through normalisation needs
  std::vector<uint8_t> skip;  // [rows] 0 or 1
  uint32_t count() const { return static_cast<uint32_t>(skip.size()); }
};

// --- Query ---------------------------------------------------------------------------------------------------------
struct QueryReply {
  StateName state;
  uint32_t rows = 0;
  std::vector<uint8_t> answered;    // [rows] 0 or 1
  std::vector<int64_t> values;      // [rows]
  std::vector<float> confidences;   // [rows]
  uint32_t neighbor_count = 0;      // m; rows with skip have zeros below
  std::vector<ScoredSlot> neighbors;  // [rows, m] when asked for
  std::vector<float> weights;       // [rows, m]
  std::vector<float> keys;          // [rows, m, dim] when asked for
  std::vector<SlotPayloads> payloads;  // one a distinct neighbor slot, ascending, when asked for
};

struct QueryCall {
  RowSet rows;
  uint32_t k = 0;                  // 1 to max_k; the service fills in the spec's
  double inverse_temperature = 0;  // the service fills in the spec's
  bool neighbors = false;
  bool keys = false;
  bool payloads = false;
  std::function<void(absl::StatusOr<QueryReply>)> done;
};

// --- Update and TrainStep ------------------------------------------------------------------------------------------
// Exactly once (semantics.md, section 5).
struct MutationId {
  SessionId session;
  uint64_t number = 0;
  uint64_t first_unacknowledged = 0;
  uint64_t opened_after = 0;
  Hash128 digest;  // of the request's decoded fields
};

struct ObserveReply : BatchResult {
  StateName state;
};

struct ObserveCall {
  RowSet rows;
  std::vector<int64_t> values;        // [rows]
  std::vector<uint8_t> write;         // [rows] 0 or 1; 0 where skip is 1
  std::vector<std::string> payloads;  // empty, or [rows]
  ObserveForm form = ObserveForm::kScores;
  bool confidence_gradient = false;
  std::optional<MutationId> mutation;  // set exactly when some row writes
  // Turns the reply into the bytes that are stored and sent: everything but header.instance and header.term. Pure.
  std::function<std::string(const ObserveReply&)> encode;
  std::function<void(absl::StatusOr<std::string>)> done;
  bool writes() const { return mutation.has_value(); }
};

// --- Clear ---------------------------------------------------------------------------------------------------------
struct ClearReply {
  StateName state;
  uint64_t freed_slots = 0;
};

struct ClearCall {
  MutationId mutation;
  std::function<std::string(const ClearReply&)> encode;  // as in ObserveCall
  std::function<void(absl::StatusOr<std::string>)> done;
};

// --- Import --------------------------------------------------------------------------------------------------------
struct ImportReply {
  StateName state;
  std::vector<uint64_t> slots;  // [rows]: where each went
  uint64_t live_count = 0;
  Hash128 state_hash;
};

// Rows that are written as they are, without a search; alone in their turn.
struct ImportRow {
  uint64_t slot = 0;          // exact: must be free
  int64_t value = 0;
  uint64_t written_step = 0;  // exact: ascending, later than the memory's step
  uint32_t hits = 0;          // exact
  std::vector<float> key;     // [key_dim] unit norm; its bits are kept
  std::vector<PayloadRow> payloads;  // places that are valid and not here hold no payload
};

struct ImportCall {
  std::optional<MutationId> mutation;  // none: the turn that makes a fork
  std::optional<StateOrigin> origin;   // of a fork
  bool exact = false;   // false: the lowest free slots, steps from the memory's on, 0 hits
  std::vector<ImportRow> rows;
  uint64_t step_after = 0;  // exact: of the memory; at least the last written step
  std::function<std::string(const ImportReply&)> encode;  // as in ObserveCall
  std::function<void(absl::StatusOr<std::string>)> done;
};

// --- GetSlots ------------------------------------------------------------------------------------------------------
struct SlotAnswer {
  SlotContent content;  // key empty unless asked for
  std::vector<Payload> payloads;
};

struct SlotsReply {
  StateName state;
  std::vector<SlotAnswer> slots;  // the live ones, in the order asked for
  struct OfValue {
    ValueCount count;
    std::vector<SlotAnswer> slots;  // most recently written first
  };
  std::vector<OfValue> values;  // in the order asked for
};

struct SlotsCall {
  std::vector<uint64_t> slots;  // each below the capacity
  std::vector<int64_t> values;
  uint32_t limit = 0;
  bool keys = false;
  bool payloads = false;
  std::function<void(absl::StatusOr<SlotsReply>)> done;
};

// --- StateHash and Describe ------------------------------------------------------------------------------------------
struct InspectReply {
  StateName state;
  Hash128 state_hash;
  uint64_t live_count = 0;
  uint64_t distinct_values = 0;
  uint32_t sessions = 0;
};

struct InspectCall {
  std::function<void(absl::StatusOr<InspectReply>)> done;
};

// --- the whole memory ------------------------------------------------------------------------------------------------
struct ReaderReply {
  StateName state;
  Hash128 chain;
  Hash128 state_hash;
  uint64_t live_count = 0;
  std::shared_ptr<const StoreReader> reader;  // of this state; null for an ephemeral memory, whose shards hold the slots
};

struct ReaderCall {
  std::function<void(absl::StatusOr<ReaderReply>)> done;
};

// One of them, on its way through a mailbox into a turn. Its `done` runs exactly once, on any thread.
struct Task {
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled;      // empty: never; asked before the task enters a turn
  std::optional<uint64_t> epoch;        // require this epoch: FAILED_PRECONDITION / STALE_MEMORY
  uint64_t min_turn = 0;                // wait for this turn: UNAVAILABLE / BEHIND at the deadline
  uint64_t client = 0;                  // who gets a fair share of the turns: a hash of the connection
  std::shared_ptr<const RequestTag> tag;  // for the log; null: nobody asked from outside
  std::variant<QueryCall, ObserveCall, ClearCall, ImportCall, SlotsCall, InspectCall, ReaderCall> call;

  absl::Time submitted;  // set by the executor
  // Rows that it counts for in the mailbox: those of its matrix, or 1.
  uint32_t mailbox_rows() const;
  // Whether it takes a turn of its own.
  bool alone() const { return std::holds_alternative<ClearCall>(call) || std::holds_alternative<ImportCall>(call); }
  // Bytes that it keeps: floats, values, flags and payloads, and the task itself. O(payloads).
  uint64_t mailbox_bytes() const;
  // Null for a read.
  const MutationId* mutation() const;
  // Finish it, once: a second call does nothing, so that whoever fails a turn need not know who was answered.
  void Fail(const absl::Status& status);
  void Reply(std::string reply);  // of an Observe, a Clear or an Import, encoded
  void Reply(QueryReply reply);
  void Reply(SlotsReply reply);
  void Reply(InspectReply reply);
  void Reply(ReaderReply reply);
};

}  // namespace evoke
