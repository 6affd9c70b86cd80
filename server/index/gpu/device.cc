#include "server/index/gpu/device.h"

#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"

namespace evoke {

absl::Status CudaStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message = absl::StrCat(std::string(what), ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error));
  // The runtime keeps the last error for the next who asks, which would blame a launch for an allocation.
  (void)cudaGetLastError();
  if (error == cudaErrorMemoryAllocation) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

absl::Status LaunchStatus(std::string_view kernel) { return CudaStatus(cudaGetLastError(), kernel); }

absl::StatusOr<std::vector<int>> Devices() {
  int count = 0;
  const absl::Status counted = CudaStatus(cudaGetDeviceCount(&count), "looking for devices");
  // Whatever it is that is not there (device, driver, permission), the server does without.
  if (!counted.ok()) return absl::UnavailableError(counted.message());
  if (count <= 0) return absl::UnavailableError("looking for devices: there is none");
  std::vector<int> devices(static_cast<size_t>(count));
  std::iota(devices.begin(), devices.end(), 0);
  return devices;
}

absl::StatusOr<DeviceMemory> MemoryOf(int device) {
  const DeviceScope scope(device);
  if (!scope.status().ok()) return scope.status();
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  const absl::Status asked = CudaStatus(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  if (!asked.ok()) return asked;
  return DeviceMemory{.free_bytes = free_bytes, .total_bytes = total_bytes};
}

DeviceScope::DeviceScope(int device) {
  int before = -1;
  status_ = CudaStatus(cudaGetDevice(&before), "asking for the current device");
  if (!status_.ok() || before == device) return;
  status_ = CudaStatus(cudaSetDevice(device), absl::StrCat("choosing device ", device));
  if (status_.ok()) before_ = before;
}

DeviceScope::~DeviceScope() {
  if (before_ >= 0) (void)cudaSetDevice(before_);
}

Stream::~Stream() {
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

absl::Status Stream::Create() {
  return CudaStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
}

absl::Status Stream::Synchronize() const { return CudaStatus(cudaStreamSynchronize(stream_), "waiting for the device"); }

Event::~Event() {
  if (event_ != nullptr) (void)cudaEventDestroy(event_);
}

absl::Status Event::Create() {
  return CudaStatus(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event");
}

absl::Status Event::Record(const Stream& stream) {
  return CudaStatus(cudaEventRecord(event_, stream.get()), "recording an event");
}

absl::Status Event::Wait() const { return CudaStatus(cudaEventSynchronize(event_), "waiting for the device"); }

absl::Status DeviceBuffer::Grow(uint64_t bytes, const Stream& stream) {
  if (bytes <= size_bytes_) return absl::OkStatus();
  void* larger = nullptr;
  absl::Status status = CudaStatus(cudaMalloc(&larger, bytes), absl::StrCat("allocating ", bytes, " bytes on the device"));
  if (!status.ok()) return status;
  if (size_bytes_ > 0) {
    status = CudaStatus(cudaMemcpyAsync(larger, data_, size_bytes_, cudaMemcpyDeviceToDevice, stream.get()),
                        "copying what was allocated");
  }
  // What is freed below may still be read by what is in the stream, the copy among it.
  if (status.ok()) status = stream.Synchronize();
  if (!status.ok()) {
    (void)cudaFree(larger);
    return status;
  }
  Free();
  data_ = larger;
  size_bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status DeviceBuffer::Reserve(uint64_t bytes, const Stream& stream) {
  if (bytes <= size_bytes_) return absl::OkStatus();
  absl::Status status = stream.Synchronize();
  Free();
  if (status.ok()) status = Grow(bytes, stream);
  return status;
}

void DeviceBuffer::Free() {
  if (data_ != nullptr) (void)cudaFree(data_);
  data_ = nullptr;
  size_bytes_ = 0;
}

absl::Status PinnedBuffer::Reserve(uint64_t bytes) {
  if (bytes <= size_bytes_) return absl::OkStatus();
  Free();
  void* larger = nullptr;
  const absl::Status status =
      CudaStatus(cudaHostAlloc(&larger, bytes, cudaHostAllocDefault), absl::StrCat("allocating ", bytes, " pinned bytes"));
  if (!status.ok()) return status;
  data_ = larger;
  size_bytes_ = bytes;
  return absl::OkStatus();
}

void PinnedBuffer::Free() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
  data_ = nullptr;
  size_bytes_ = 0;
}

}  // namespace evoke
