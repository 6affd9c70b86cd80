// A part of a memory's slots that is searched and changed as one: in this process today, elsewhere later.
//
// A shard owns its partitions entirely: keys, values, written steps, age order, value index, free list, hash. The
// engine decides from what shards propose, so every list comes with a bound or a flag that says whether it is all.
// Requests and replies are plain values that a message could mirror.
//
// Threads: calls may come from any thread; a shard does one thing at a time, in the order of the calls. `done` runs
// once, on any thread, possibly before the call returns.
// Failure: FAILED_PRECONDITION when the shard is not at exactly the turn that a request reads at. Every call may be
// repeated.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/memory/slot.h"
#include "storage/ids.h"
#include "storage/turn_record.h"

namespace evoke {

// The state that a request reads: every turn up to `turn` applied, none after it.
struct ReadPoint {
  MemoryUid uid;
  Epoch epoch;
  Term term;
  Turn turn;
  friend bool operator==(const ReadPoint&, const ReadPoint&) = default;
};

// [rows, dim] float32, row-major, unit norm: the rows of a turn, normalised once and shared by all shards.
struct PackedRows {
  uint32_t dim = 0;
  std::vector<float> data;
  uint32_t count() const { return dim == 0 ? 0 : static_cast<uint32_t>(data.size() / dim); }
  const float* row(uint32_t i) const { return data.data() + size_t{i} * dim; }
};

// What is wanted for one row. Zero of something: nothing of it.
struct RowWant {
  uint32_t row = 0;              // of the packed rows
  uint32_t neighbors = 0;        // best slots
  uint32_t keys = 0;             // keys of the first so many of them
  std::optional<int64_t> label;  // with of_label: the newest slots of this value
  uint32_t of_label = 0;
};

struct ProposeRequest {
  ReadPoint at;
  std::shared_ptr<const PackedRows> rows;
  std::vector<RowWant> wants;
  uint32_t oldest = 0;               // n oldest slots
  uint32_t free = 0;                 // n lowest free slots
  std::vector<int64_t> count_values;  // values whose live slots and observations are wanted
};

struct RowProposal {
  std::vector<ScoredSlot> neighbors;   // in the order of neighbors
  std::vector<float> keys;             // [min(want.keys, neighbors), dim]
  Bound bound;                         // of the live slots that `neighbors` leaves out
  std::vector<ScoredSlot> of_label;    // newest first, with their similarity to the row
  bool of_label_complete = true;       // no other live slot of the label in this shard
};

struct Proposal {
  std::vector<RowProposal> rows;      // one for each want
  std::vector<SlotState> oldest;      // ascending written step
  bool oldest_complete = true;        // no other live slot in this shard
  std::vector<uint64_t> free_slots;   // ascending
  bool free_complete = true;          // no other free slot in this shard
  uint64_t live_count = 0;
  std::vector<ValueCount> counts;     // one for each of count_values
};

struct FetchRequest {
  ReadPoint at;
  std::vector<uint64_t> slots;  // of this shard; free ones are left out of the answer
};

struct SlotsOfValueRequest {
  ReadPoint at;
  int64_t value = 0;
  uint32_t limit = 0;  // newest first
  bool keys = false;
};

struct SlotsOfValue {
  std::vector<SlotContent> slots;  // descending written step; keys empty unless asked for
  ValueCount count;                // over the whole shard
};

// A run of slots of one partition, block * P + partition, to be compared with each other as they are in table, index
// and store.
struct AuditRequest {
  ReadPoint at;
  Partition partition;
  uint64_t first_block = 0;
  uint64_t blocks = 0;
  // The rows that the store has of these slots, ascending; nothing: they are not to be compared. Without row_hash.
  std::optional<std::vector<SlotContent>> rows;
};

struct AuditAnswer {
  bool looked = false;                   // false: it could not be looked at now
  std::vector<uint64_t> index_differs;   // slots whose key the index had wrong; it has it right now
  std::vector<uint64_t> store_differs;   // slots that the store has otherwise, more, or not
};

// Figures of a shard for metrics and Describe; taken between its calls.
struct ShardFigures {
  Turn turn;
  uint64_t live_count = 0;
  uint64_t capacity = 0;
  uint64_t memory_bytes = 0;             // slot table, orders, value index, index
  uint64_t uncertified_rows = 0;         // since start
  uint64_t searched_rows = 0;            // since start; rows of proposals, searched again included
  uint64_t written_slots = 0;            // since start
  uint64_t recall_found = 0, recall_missed = 0;  // neighbors of late, as RecallCheck counts them
  std::vector<uint64_t> sampled_steps;   // written steps of a sample of the live slots, ascending; at most 256
  uint64_t distinct_values = 0;          // of this shard: a value that lives in two shards counts in both
  int device = -1;                       // that the index is on; -1: none
  uint64_t device_bytes = 0;             // allocated there
  std::string degraded;                  // why the index does without its device; empty: it does not
};

class Shard {
 public:
  virtual ~Shard() = default;
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;

  // A search may begin only when the task that asks has returned, on its thread: ask for one last.
  virtual void Propose(ProposeRequest request, Done<Proposal> done) = 0;
  virtual void Fetch(FetchRequest request, Done<std::vector<SlotContent>> done) = 0;
  virtual void ReadValue(SlotsOfValueRequest request, Done<SlotsOfValue> done) = 0;

  // Applies the record's part that concerns this shard's partitions (it may be whole or a slice). A turn already
  // applied: nothing. The next turn: applied. A later one: OUT_OF_RANGE (GAP), never skipped.
  virtual void Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done) = 0;

  virtual void Figures(Done<ShardFigures> done) = 0;

  // Repairs the index where it differs from the table; changes nothing else.
  virtual void Audit(AuditRequest request, Done<AuditAnswer> done) { done(AuditAnswer()); }
};

}  // namespace evoke
