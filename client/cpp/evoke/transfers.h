// What Export gives and Import takes: slots as they are, bit for bit, or new observations.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "evoke/requests.h"
#include "evoke/types.h"

namespace evoke::client {

// A payload and where its slot keeps it.
struct PlacedPayload {
  uint32_t row = 0;    // of SlotRows
  uint32_t place = 0;  // of the slot's ring; 0 is the first payload
  uint64_t step = 0;   // of the observation that brought it
  std::string data;
};

// [rows] of every column; row i of each is one slot.
struct SlotRows {
  std::vector<uint64_t> slots;
  std::vector<int64_t> values;
  std::vector<uint64_t> written_steps;  // ascending
  std::vector<uint32_t> hits;
  std::vector<float> keys;              // [rows, key_dim], unit norm, raw bits
  std::vector<PlacedPayload> payloads;  // of any of the rows

  size_t rows() const { return slots.size(); }
};

// The state that an export is of.
struct ExportedState {
  ReplyHeader header;
  MemorySpec spec;
  std::string state_hash;     // 32 hex digits
  uint64_t live_slots = 0;    // of the whole memory
  uint64_t rows_to_come = 0;  // those written after ExportRequest::after_step
};

struct ExportRequest {
  uint64_t after_step = 0;                // only slots written later; 0: all
  std::optional<uint64_t> required_turn;  // EXPORT_CHANGED when the memory is at another one
  uint32_t chunk_rows = 0;                // at most so many at a time; 0: as many as fit 1 MiB
  bool without_payloads = false;
};

// Where an export goes. A status that is not OK ends it, and is what Export returns.
struct ExportSink {
  std::function<absl::Status(const ExportedState&)> begin;  // once, before the rows
  std::function<absl::Status(const SlotRows&)> rows;        // oldest first; each row once
};

// Slots of an export. Every slot must be free, every written step later than the memory's step.
struct ImportSlotsRequest {
  const SlotRows& rows;
  std::optional<uint64_t> step_after;  // with the last rows: the step of the memory that was exported
};

// Observations for free slots, the oldest first, written without searching.
struct ImportRowsRequest {
  MatrixView embeddings;                         // [rows, key_dim], any scale
  absl::Span<const int64_t> values;              // [rows]
  absl::Span<const absl::string_view> payloads;  // [rows] or empty
};

struct ImportResult {
  ReplyHeader header;
  std::vector<uint64_t> slots;  // [rows]: where each row went
  uint64_t live_slots = 0;      // after it
  std::string state_hash;       // after it
};

}  // namespace evoke::client
