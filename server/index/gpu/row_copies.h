// Rows to and from places of a matrix, on the device. Both return before it is done.
//
// `row_bytes` is even, and the addresses are those of allocations. Requires: every position is inside the matrix; those of
// one scatter differ.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/index/gpu/device.h"

namespace evoke {

struct RowCopy {
  void* matrix = nullptr;
  void* rows = nullptr;                 // [count, row_bytes], without gaps
  const uint32_t* positions = nullptr;  // [count], on the device
  uint32_t count = 0;
  uint32_t row_bytes = 0;
};

// matrix[positions[i]] = rows[i]
absl::Status ScatterRows(const RowCopy& copy, const Stream& stream);
// rows[i] = matrix[positions[i]]
absl::Status GatherRows(const RowCopy& copy, const Stream& stream);

}  // namespace evoke
