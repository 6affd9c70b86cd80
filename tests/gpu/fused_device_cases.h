// What is asked of the machine below the fused scan: of a GPU by tests/gpu, of its twin by tests/unit/index.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/index/gpu/fused_device.h"

namespace evoke {

// Defined by the binary. Null: there is no device, and nothing is asked.
absl::StatusOr<std::unique_ptr<gpu::FusedDevice>> MakeFusedDevice();

}  // namespace evoke
