// The machine below the fused scan: memory, copies and the kernels, in the order of one stream.
//
// FusedSearch knows what is to be done, this how: a GPU (cuda_fused_device.h), or the twin of the tests, which runs the
// same kernels on the CPU. Nothing but Synchronize, the allocations and their releases waits for the device. Errors: as
// device_search.h; those of work under way may come from any later call. Threads: one call at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/scan_shape.h"

namespace evoke::gpu {

class FusedDevice {
 public:
  virtual ~FusedDevice() = default;

  // Where memory lies: kPinned is the host's; copies start from it and end in it, and kernels may write to it.
  enum class Where : uint8_t { kDevice, kPinned };
  // Of any contents, aligned to 256 bytes; Release waits for the device first.
  virtual absl::StatusOr<void*> Allocate(Where where, size_t bytes) = 0;
  virtual void Release(Where where, void* memory) = 0;
  // Shared memory that a block may have.
  virtual size_t shared_bytes() const = 0;

  virtual absl::Status ToDevice(void* to, const void* pinned, size_t bytes) = 0;
  virtual absl::Status ToHost(void* pinned, const void* from, size_t bytes) = 0;
  virtual absl::Status OnDevice(void* to, const void* from, size_t bytes) = 0;
  virtual absl::Status Synchronize() = 0;

  virtual absl::Status Clear(const ClearArgs& args) = 0;
  virtual absl::Status Scatter(const MoveArgs& args) = 0;
  virtual absl::Status Gather(const MoveArgs& args) = 0;
  // Requires: the shape's SharedBytes(args.stride) are at most shared_bytes().
  virtual absl::Status Scan(ScanShape shape, const ScanArgs& args) = 0;
  virtual absl::Status Begin(uint32_t rows, const BeginArgs& args) = 0;
  // Requires: DecideSharedBytes of the arguments are at most shared_bytes().
  virtual absl::Status Decide(uint32_t rows, const DecideArgs& args) = 0;
};

// Memory that goes back to its device with it. The device must outlive it.
class Block {
 public:
  Block(FusedDevice* device, FusedDevice::Where where) : device_(device), where_(where) {}
  ~Block() { Release(); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // At least `bytes`; contents are lost if it was smaller. After an error it is empty.
  absl::Status Reserve(size_t bytes) {
    if (bytes <= size_bytes_) return absl::OkStatus();
    Release();
    absl::StatusOr<void*> memory = device_->Allocate(where_, bytes);
    if (!memory.ok()) return memory.status();
    memory_ = *memory;
    size_bytes_ = bytes;
    return absl::OkStatus();
  }
  void Release() {
    if (memory_ != nullptr) device_->Release(where_, memory_);
    memory_ = nullptr;
    size_bytes_ = 0;
  }
  void Swap(Block* other) {
    std::swap(memory_, other->memory_);
    std::swap(size_bytes_, other->size_bytes_);
  }

  template <typename T>
  T* as(size_t offset_bytes = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(memory_) + offset_bytes);
  }
  size_t size_bytes() const { return size_bytes_; }

 private:
  FusedDevice* const device_;
  const FusedDevice::Where where_;
  void* memory_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace evoke::gpu
