// What a device does for an index: it holds a copy of a shard's keys, and finds the best of them for a row.
//
// The seam between GpuIndex, which knows what to do when a device is lost, and those who program devices: our own kernels,
// FAISS's, and the twin of the tests that runs on the CPU. Candidates are canonical to the bit, like every index's.
//
// Threads: one call at a time. No exception leaves. Errors: UNAVAILABLE (the device is lost: no later call can succeed),
// RESOURCE_EXHAUSTED (its memory is full: what was there before the call still is).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/index/index.h"

namespace evoke {

class DeviceSearch {
 public:
  virtual ~DeviceSearch() = default;

  // Copies these positions' keys to the device, and what is live of them (a position that is not is never proposed
  // again). Grows as the highest position demands. May return before the device is done; later calls come after it.
  // Requires: the positions ascend, each once.
  virtual absl::Status Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) = 0;
  // Forgets all keys, and gives the memory back.
  virtual void Clear() = 0;

  // As Index::Search, for the rows that can be certified: (*certified)[i] says whether (*results)[i] is the exact answer
  // of row i. The caller answers the others. Both are resized to want.size().
  virtual absl::Status Search(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                              std::vector<SearchResult>* results, std::vector<uint8_t>* certified) = 0;

  // Of these positions, those whose copy has other bits than `keys`.
  virtual absl::Status Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                              std::vector<uint32_t>* differ) = 0;

  virtual std::string_view name() const = 0;           // "gpu", "faiss_gpu", ...
  virtual uint64_t DeviceBytes() const = 0;            // allocated on the device
  virtual uint64_t WidenedRows() const { return 0; }   // certified, but not at once; since it was made
};

}  // namespace evoke
