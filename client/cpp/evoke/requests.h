// What goes into the calls on a memory and what comes back. Requests only refer to the caller's arrays, which
// must live until the call returns; results own theirs. Everything is row-major. Masks have one byte a row: 0
// or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "evoke/types.h"

namespace evoke::client {

// [rows, dim] numbers of the caller's.
struct MatrixView {
  enum class DType : int { kFloat32 = 1, kFloat16 = 2, kBFloat16 = 3 };

  // dim = numbers.size() / rows. What does not divide is refused by the call (BAD_SHAPE).
  static MatrixView Float32(absl::Span<const float> numbers, uint32_t rows);
  static MatrixView Float16(absl::Span<const uint16_t> bits, uint32_t rows);
  static MatrixView BFloat16(absl::Span<const uint16_t> bits, uint32_t rows);

  absl::string_view bytes;  // little-endian
  DType dtype = DType::kFloat32;
  uint32_t rows = 0;
  uint32_t dim = 0;
};

struct QueryRequest {
  MatrixView embeddings;           // [rows, key_dim], any scale
  absl::Span<const uint8_t> skip;  // [rows] or empty: padding, answered with zeros
  std::optional<uint32_t> k;       // neighbors of a row, 1 to Limits::max_k; default the spec's choose_k
  std::optional<double> inverse_temperature;  // finite, > 0; default the spec's
  bool neighbors = false;                     // return the neighbors
  bool neighbor_keys = false;                 // and their keys; implies neighbors
  bool neighbor_payloads = false;             // and their payloads; implies neighbors
};

struct Payload {
  uint64_t step = 0;  // of the observation that brought it
  std::string data;
};

struct SlotPayloads {
  uint64_t slot = 0;
  std::vector<Payload> payloads;  // the first, then the latest ones
};

struct QueryResult {
  ReplyHeader header;
  uint32_t rows = 0;
  std::vector<uint8_t> answered;   // [rows] 0 or 1: 0 when the memory is empty or the row was skipped
  std::vector<int64_t> values;     // [rows]; 0 where not answered
  std::vector<float> confidences;  // [rows]; 0 where not answered
  uint32_t neighbor_count = 0;     // m = min(k, live slots)
  std::vector<uint64_t>
      neighbor_slots;  // [rows, m], similarity descending, if asked for; zeros for skipped rows
  std::vector<int64_t> neighbor_values;      // [rows, m]
  std::vector<float> neighbor_similarities;  // [rows, m]
  std::vector<float> neighbor_weights;       // [rows, m]: softmax over the m
  std::vector<uint64_t> neighbor_ages;       // [rows, m], in observations
  std::vector<float> neighbor_keys;          // [rows, m, key_dim], if asked for
  std::vector<SlotPayloads> payloads;        // one a distinct neighbor slot, ascending, if asked for
};

inline constexpr uint64_t kNoSlot = ~uint64_t{0};  // "no slot was written"

enum class Outcome : uint8_t {
  kUnspecified = 0,
  kNone = 1,     // the row did not write
  kHit = 2,      // the nearest neighbor was right and was averaged with the embedding
  kMerged = 3,   // another neighbor of the value was
  kFolded = 4,   // a slot that the batch had just taken was
  kFree = 5,     // written into a free slot
  kEvict = 6,    // replaced one of the oldest slots
  kDropped = 7,  // found no slot to replace; nothing was written
};

struct UpdateRequest {
  MatrixView embeddings;                         // [rows, key_dim], any scale
  absl::Span<const int64_t> values;              // [rows]: the right answers
  absl::Span<const uint8_t> write;               // [rows] or empty: rows that write; empty: all
  absl::Span<const uint8_t> skip;                // [rows] or empty: padding
  absl::Span<const absl::string_view> payloads;  // [rows] or empty; each at most Limits::max_payload_bytes
};

struct UpdateResult {
  ReplyHeader header;
  uint32_t rows = 0;
  std::vector<Outcome> outcomes;  // [rows]
  std::vector<uint64_t> slots;    // [rows]: the slot written, or kNoSlot
};

enum class ReturnForm : int {
  kScores = 1,    // answers, confidences and losses
  kGradient = 2,  // and d loss / d embedding
  kKeys = 3,      // and the positive and the negative key of each row
};

struct TrainStepRequest {
  MatrixView embeddings;             // [rows, key_dim], any scale
  absl::Span<const int64_t> values;  // [rows]: the right answers
  absl::Span<const uint8_t> write;   // [rows] or empty: rows that write; empty: all. Others are scored alike
  absl::Span<const uint8_t> skip;    // [rows] or empty: padding, zeros come back
  absl::Span<const absl::string_view> payloads;  // [rows] or empty
  ReturnForm form = ReturnForm::kScores;
  bool confidence_gradient = false;  // return d confidence / d embedding too
};

struct TrainStepResult {
  ReplyHeader header;
  uint32_t rows = 0;
  std::vector<uint8_t> answered;            // [rows] 0 or 1
  std::vector<int64_t> values;              // [rows]: of the nearest neighbor before the batch
  std::vector<float> confidences;           // [rows]
  std::vector<float> losses;                // [rows]
  std::vector<uint8_t> positive_found;      // [rows] 0 or 1
  std::vector<uint8_t> negative_found;      // [rows] 0 or 1
  std::vector<Outcome> outcomes;            // [rows]
  std::vector<uint64_t> slots;              // [rows]: the slot written, or kNoSlot
  std::vector<float> gradients;             // [rows, key_dim], kGradient
  std::vector<float> confidence_gradients;  // [rows, key_dim], if asked for
  std::vector<float> positive_keys;         // [rows, key_dim], kKeys
  std::vector<float> negative_keys;         // [rows, key_dim], kKeys
};

struct GetSlotsRequest {
  absl::Span<const uint64_t> slots;  // each below the capacity; free ones are left out of the result
  absl::Span<const int64_t> values;  // whose live slots are read, most recently written first
  uint32_t limit = 0;                // slots of each value, 1 to Limits::max_k; 0: the server's default, 16
  bool keys = false;
  bool payloads = false;
};

struct Slot {
  uint64_t slot = 0;
  int64_t value = 0;
  uint64_t written_step = 0;
  uint64_t age = 0;               // in observations
  uint32_t hits = 0;              // reinforcements since the value was written
  std::vector<float> key;         // [key_dim], unit norm, if asked for
  std::vector<Payload> payloads;  // if asked for
};

struct ValueSlots {
  int64_t value = 0;
  uint64_t live_slots = 0;    // in all
  uint64_t observations = 0;  // sum of 1 + hits
  std::vector<Slot> slots;    // at most `limit`
};

struct GetSlotsResult {
  ReplyHeader header;
  std::vector<Slot> slots;         // in the order asked for
  std::vector<ValueSlots> values;  // in the order asked for
};

struct ClearResult {
  ReplyHeader header;  // of the emptied memory
  uint64_t freed_slots = 0;
};

struct StateHashResult {
  ReplyHeader header;      // names the step
  std::string state_hash;  // 32 hex digits; zeros for an empty memory
  uint64_t live_slots = 0;
};

}  // namespace evoke::client
