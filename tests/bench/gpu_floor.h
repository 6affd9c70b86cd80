// What no scan on this device can be faster than, measured now.
#pragma once

#include "absl/status/statusor.h"

namespace evoke::bench {

struct GpuFloor {
  double bytes_per_second = 0;  // a copy within the device: what it reads and writes
  double flops = 0;             // a loop of the tensor cores' instruction that the scan uses, on registers alone

  // Of the high plane read once, and every row multiplied with every key.
  double BytesSeconds(double keys, double dim) const { return keys * dim * 2 / bytes_per_second; }
  double FlopsSeconds(double keys, double dim, double rows) const { return 2 * keys * dim * rows / flops; }
};

// The best of several. Errors: as CUDA has them, UNAVAILABLE when there is no device.
absl::StatusOr<GpuFloor> MeasureGpuFloor(int device);

}  // namespace evoke::bench
