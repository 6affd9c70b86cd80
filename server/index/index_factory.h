// Indexes by their configured name.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/index/device_search_factory.h"
#include "server/index/index.h"

namespace evoke {

struct IndexOptions {
  uint32_t dim = 0;
  uint32_t capacity = 0;  // positions 0 .. capacity - 1
  Parallel parallel;      // empty: the calling thread alone
  // Of an index on a device:
  int device = 0;                // as the driver numbers them
  MakeDeviceSearch make_device;  // tests: in place of CreateDeviceSearch
  std::function<void(int device, absl::Duration taken)> on_device_search;  // after each; may be empty
};

// "flat", "faiss_flat", "canonical" or one of DeviceIndexNames(). INVALID_ARGUMENT names those that there are, UNIMPLEMENTED /
// NOT_BUILT one that is not built in. A device that is not there is no error: that index is degraded().
absl::StatusOr<std::unique_ptr<Index>> CreateIndex(std::string_view name, const IndexOptions& options);

// What such an index keeps besides the keys when all positions are live, at most; the same errors.
struct IndexPlan {
  uint64_t ram_bytes = 0;
  uint64_t device_bytes = 0;
};
absl::StatusOr<IndexPlan> PlanIndex(std::string_view name, const IndexOptions& options);

}  // namespace evoke
