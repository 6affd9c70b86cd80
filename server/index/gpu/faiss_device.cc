#include "server/index/gpu/faiss_device.h"

#include <cublas_v2.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace evoke {
namespace {

// float32 in any order is all that SgemmErrorBound covers: neither TF32 nor float32 put together from bfloat16, whatever
// the environment tells cuBLAS. float16 is multiplied exactly and summed in float32, in partial sums too.
cublasMath_t MathOf(KeyFormat format) {
  return format == KeyFormat::kFloat32 ? CUBLAS_PEDANTIC_MATH : CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
}

}  // namespace

absl::StatusOr<FaissDevice*> FaissDevice::Of(int device) {
  static Mutex mu;
  static auto* const devices = new std::map<int, absl::StatusOr<FaissDevice*>>();
  EVOKE_RETURN_IF_ERROR(Devices().status());
  MutexLock lock(&mu);
  if (const auto known = devices->find(device); known != devices->end()) return known->second;
  const DeviceScope scope(device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  auto made = std::unique_ptr<FaissDevice>(new FaissDevice(device));
  EVOKE_RETURN_IF_ERROR(made->stream_.Create());
  {
    MutexLock configure(&made->mu_);
    made->resources_.setTempMemory(kTemporaryBytes);
    made->resources_.setPinnedMemory(0);  // nothing of ours is on the CPU when FAISS sees it
    made->resources_.setDefaultStream(device, made->stream_.get());
  }
  // FAISS allocates at the first call, which is this one, and is kept however that ends.
  FaissDevice* const kept = made.release();
  const absl::Status begun = kept->Run(KeyFormat::kFloat32, [](faiss::gpu::StandardGpuResources*) {});
  absl::StatusOr<FaissDevice*> answer = kept;
  if (!begun.ok()) answer = begun;
  return devices->emplace(device, std::move(answer)).first->second;
}

absl::Status FaissDevice::Run(KeyFormat format, const std::function<void(faiss::gpu::StandardGpuResources*)>& call) {
  std::string what;
  {
    MutexLock lock(&mu_);
    try {
      const cublasStatus_t set = cublasSetMathMode(resources_.getResources()->getBlasHandle(device_), MathOf(format));
      if (set != CUBLAS_STATUS_SUCCESS) return absl::UnavailableError(absl::StrCat("cuBLAS: ", cublasGetStatusString(set)));
      call(&resources_);
      return absl::OkStatus();
    } catch (const std::exception& thrown) {
      what = thrown.what();
    } catch (...) {
      what = "an exception";
    }
  }
  what = absl::StrCat("FAISS: ", what);
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaGetLastError(), what));
  EVOKE_RETURN_IF_ERROR(stream_.Synchronize());
  return absl::ResourceExhaustedError(what);
}

}  // namespace evoke
