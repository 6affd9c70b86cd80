// A matrix of encoded keys on a device, and which of them score best: all that a device does for ProposedSearch.
//
//   Grow -> (Stage -> Put)*        rows written
//        -> (Stage -> Best)*       rows searched for
//
// Implemented by FAISS (gpu/faiss_keys.h) and by the twin of the tests. Threads: one call at a time. No exception leaves.
// Errors are those of DeviceSearch; after one nothing more is asked of it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace evoke {

class DeviceKeys {
 public:
  virtual ~DeviceKeys() = default;

  // Room for so many rows: those that are there stay, new ones are zeros.
  virtual absl::Status Grow(uint64_t rows) = 0;
  // No rows, no memory.
  virtual void Clear() = 0;

  // Where `rows` encoded rows are to be laid for the next Put or Best. Waits for what was staged before it.
  virtual absl::StatusOr<uint8_t*> Stage(size_t rows) = 0;
  // The staged rows go to these places, in this order. Returns before it is done; what is called later comes later.
  // Requires: the positions are below the room, each once.
  virtual absl::Status Put(absl::Span<const uint32_t> positions) = 0;
  // rows[positions.size()]: what lies at these places, encoded.
  virtual absl::Status Get(absl::Span<const uint32_t> positions, uint8_t* rows) = 0;

  // For each of the `count` staged rows, the `ask` of positions 0 .. rows - 1 with the largest inner products:
  // [count, ask], in any order. A score of -FLT_MAX or a position that is none stands for one that was not found.
  // Requires: ask <= max_ask() and ask <= rows.
  virtual absl::Status Best(uint32_t rows, size_t count, uint32_t ask, std::vector<float>* scores,
                            std::vector<int64_t>* positions) = 0;
  virtual uint32_t max_ask() const = 0;

  virtual uint64_t DeviceBytes() const = 0;
};

}  // namespace evoke
