// Numbers that a command is given: on its command line, on stdin, or in a file.
//
//   0.6,0.8               one row          [[0.6,0.8],[1,0]]   several
//   -                     JSON on stdin    x.json, x.npy       a file
//
// Failure: INVALID_ARGUMENT naming the source, and where in it.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace evoke::cli {

struct FloatRows {
  std::vector<float> numbers;  // [rows, dim], row-major
  uint32_t rows = 0;
  uint32_t dim = 0;
};

// One row or several of equal length, at least one number. .npy: float32 or float64, one or two dimensions.
absl::StatusOr<FloatRows> ReadRows(const std::string& source, std::istream& in);
// .npy: int64 or int32, one dimension.
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const std::string& source, std::istream& in);
// Strings, and "" for null; not from a .npy.
absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& source, std::istream& in);

}  // namespace evoke::cli
