// What holds a device's memory, streams and errors for those who program one.
//
// Memory is taken by plain allocations and given back by destructors, which report nothing: a device that is lost has
// nothing left to give back. Each object belongs to the device that was current when it was first filled; a DeviceScope
// makes one current for the calling thread. Threads: as the object that owns them, one call at a time.
//
// Errors: RESOURCE_EXHAUSTED when there is no memory (what was there before the call still is), UNAVAILABLE for all else.
// Most other errors of CUDA stay: every later call of the process answers with them. So all count as a lost device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evoke {

// `what`: what was attempted, as in "copying 512 keys".
absl::Status CudaStatus(cudaError_t error, std::string_view what);
// Of the launches before it on this thread; to be asked right after each.
absl::Status LaunchStatus(std::string_view kernel);

// The devices that there are, as CUDA numbers them; never empty. UNAVAILABLE: no device, or no driver.
absl::StatusOr<std::vector<int>> Devices();

struct DeviceMemory {
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
};
absl::StatusOr<DeviceMemory> MemoryOf(int device);

// Makes a device current for the calling thread while it lives. To be asked for its status before anything else is done.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  const absl::Status& status() const { return status_; }

 private:
  int before_ = -1;  // -1: nothing to go back to
  absl::Status status_;
};

// A stream that does not wait for the default stream. Create before use.
class Stream {
 public:
  Stream() = default;
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  absl::Status Create();
  // Waits until all that was put into it is done; tells the errors of that too.
  absl::Status Synchronize() const;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A place in a stream that the CPU can wait for, without waiting for what comes after. Create before use.
class Event {
 public:
  Event() = default;
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  absl::Status Create();
  absl::Status Record(const Stream& stream);
  // Returns at once when nothing was recorded.
  absl::Status Wait() const;

 private:
  cudaEvent_t event_ = nullptr;
};

// Bytes on the device, aligned to 256.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer() { Free(); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  // At least `bytes`: what is there stays, the rest is undefined. While it grows both lie on the device. Waits for
  // `stream`, in which everything that uses this buffer must run, unless there is room already.
  absl::Status Grow(uint64_t bytes, const Stream& stream);
  // As Grow, but what is there need not stay, so that it never takes both at once. After an error it is empty.
  absl::Status Reserve(uint64_t bytes, const Stream& stream);
  void Free();

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  void* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

// Memory of the machine that a device reads and writes by itself: copies from and to it do not make the caller wait.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  ~PinnedBuffer() { Free(); }
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  // At least `bytes`, of any contents; after an error it is empty. Requires: no copy of it is under way.
  absl::Status Reserve(uint64_t bytes);
  void Free();

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  void* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

}  // namespace evoke
