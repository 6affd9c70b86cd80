// Indexes by their configured name.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/index/index.h"

namespace evoke {

struct IndexOptions {
  uint32_t dim = 0;
  uint32_t capacity = 0;  // positions 0 .. capacity - 1
  Parallel parallel;      // empty: the calling thread alone
};

// "flat" or "faiss_flat"; INVALID_ARGUMENT names those that there are, UNIMPLEMENTED one that is not built in.
absl::StatusOr<std::unique_ptr<Index>> CreateIndex(std::string_view name, const IndexOptions& options);

// What such an index keeps besides the keys when all positions are live, at most; the same errors.
absl::StatusOr<uint64_t> PlannedIndexBytes(std::string_view name, const IndexOptions& options);

}  // namespace evoke
