// The head of a .npy: NumPy's file of one array.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evoke::cli {

struct NpyArray {
  std::string descr;            // "<f4"
  std::vector<uint64_t> shape;
  size_t head_bytes = 0;        // before the numbers
};

// Reads the head that `bytes` begin with. INVALID_ARGUMENT, as the end of a sentence ("is no .npy"), for what is none of
// version 1.0, or in Fortran's order.
absl::StatusOr<NpyArray> ParseNpyHead(absl::string_view bytes);

}  // namespace evoke::cli
