// FAISS's own things on a device (cuBLAS, temporary memory, streams) and the stream that all of ours for it runs in: one of
// each a device and process, shared by the shards of all memories.
//
// Never destroyed: a device that is lost lets nothing be given back, and FAISS ends the process over that. Thread-safe.
#pragma once

#include <faiss/gpu/StandardGpuResources.h>

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/index/gpu/device.h"
#include "server/index/key_format.h"

namespace evoke {

class FaissDevice {
 public:
  // Takes kTemporaryBytes at the first call for a device. What that call answered is the answer of all later ones when
  // FAISS failed in it: it can be neither asked again nor destroyed.
  static absl::StatusOr<FaissDevice*> Of(int device);

  const Stream& stream() const { return stream_; }
  int device() const { return device_; }

  // Runs `call`, of FAISS, alone, with cuBLAS set for keys of this format; what it enqueues is ordered by the stream. What
  // it throws becomes a status: RESOURCE_EXHAUSTED when the device still works afterwards, UNAVAILABLE when not.
  absl::Status Run(KeyFormat format, const std::function<void(faiss::gpu::StandardGpuResources*)>& call);

  // Of FAISS's temporary memory; what does not fit is allocated anew by every call.
  static constexpr uint64_t kTemporaryBytes = uint64_t{1536} << 20;

 private:
  explicit FaissDevice(int device) : device_(device) {}

  const int device_;
  Stream stream_;
  Mutex mu_;
  faiss::gpu::StandardGpuResources resources_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
