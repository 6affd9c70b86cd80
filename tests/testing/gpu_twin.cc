#include "tests/testing/gpu_twin.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/index/gpu/decide_kernels.cuh"
#include "server/index/gpu/fused_search.h"
#include "server/index/gpu/move_kernels.cuh"
#include "server/index/gpu/scan_kernel.cuh"
#include "tests/testing/gpu_twin_block.h"

namespace evoke::testing {
namespace {

using gpu::FusedDevice;

class GpuTwin final : public FusedDevice {
 public:
  explicit GpuTwin(GpuTwinOptions options) : options_(std::move(options)), random_(options_.seed) {}
  ~GpuTwin() override { EVOKE_CHECK(allocated_.empty()); }

  absl::StatusOr<void*> Allocate(Where where, size_t bytes) override {
    EVOKE_RETURN_IF_ERROR(Fault());
    Drain();
    if (where == Where::kDevice) {
      if (bytes > options_.memory_bytes - device_bytes_) {
        return absl::ResourceExhaustedError(absl::StrCat("no room for ", bytes, " bytes"));
      }
      device_bytes_ += bytes;
    }
    void* memory = nullptr;
    EVOKE_CHECK(posix_memalign(&memory, 256, std::max<size_t>(bytes, 1)) == 0);
    std::memset(memory, 0xff, bytes);
    allocated_[memory] = where == Where::kDevice ? bytes : 0;
    return memory;
  }
  void Release(Where, void* memory) override {
    Drain();
    device_bytes_ -= allocated_.at(memory);
    allocated_.erase(memory);
    std::free(memory);
  }
  size_t shared_bytes() const override { return options_.shared_bytes; }

  absl::Status ToDevice(void* to, const void* pinned, size_t bytes) override { return Copy(to, pinned, bytes); }
  absl::Status ToHost(void* pinned, const void* from, size_t bytes) override { return Copy(pinned, from, bytes); }
  absl::Status OnDevice(void* to, const void* from, size_t bytes) override { return Copy(to, from, bytes); }
  absl::Status Synchronize() override {
    EVOKE_RETURN_IF_ERROR(Fault());
    Drain();
    return absl::OkStatus();
  }

  absl::Status Clear(const gpu::ClearArgs& args) override {
    return Launch(gpu::MoveBlocks(args.count, args.keys.stride), 0, [args] { gpu::ClearKernel(args); });
  }
  absl::Status Scatter(const gpu::MoveArgs& args) override {
    return Launch(gpu::MoveBlocks(args.count, args.keys.stride), 0, [args] { gpu::MoveKernel<true>(args); });
  }
  absl::Status Gather(const gpu::MoveArgs& args) override {
    return Launch(gpu::MoveBlocks(args.count, args.keys.stride), 0, [args] { gpu::MoveKernel<false>(args); });
  }
  absl::Status Scan(gpu::ScanShape shape, const gpu::ScanArgs& args) override {
    return gpu::WithShape(shape, [&](auto s) {
      return Launch(std::min(args.tiles, options_.blocks), s.SharedBytes(args.stride),
                    [args] { gpu::ScanKernel<decltype(s)>(args); });
    });
  }
  absl::Status Begin(uint32_t rows, const gpu::BeginArgs& args) override {
    return Launch(rows, sizeof(gpu::SelectSpace), [args] { gpu::BeginKernel(args); });
  }
  absl::Status Decide(uint32_t rows, const gpu::DecideArgs& args) override {
    return Launch(rows, gpu::DecideSharedBytes(args.capacity, args.keys.stride), [args] { gpu::DecideKernel(args); });
  }

 private:
  absl::Status Fault() { return options_.fault ? options_.fault() : absl::OkStatus(); }
  absl::Status Copy(void* to, const void* from, size_t bytes) {
    EVOKE_RETURN_IF_ERROR(Fault());
    stream_.push_back([to, from, bytes] { std::memcpy(to, from, bytes); });
    return absl::OkStatus();
  }
  absl::Status Launch(uint64_t blocks, size_t shared_bytes, std::function<void()> kernel) {
    EVOKE_RETURN_IF_ERROR(Fault());
    EVOKE_CHECK(shared_bytes <= options_.shared_bytes);
    stream_.push_back([this, blocks, shared_bytes, kernel = std::move(kernel)] {
      RunOnTwin(static_cast<uint32_t>(blocks), shared_bytes, random_(), kernel);
    });
    return absl::OkStatus();
  }
  void Drain() {
    for (const auto& work : stream_) work();
    stream_.clear();
  }

  const GpuTwinOptions options_;
  std::mt19937_64 random_;
  std::vector<std::function<void()>> stream_;
  std::map<void*, size_t> allocated_;  // bytes on the device
  size_t device_bytes_ = 0;
};

}  // namespace

std::unique_ptr<FusedDevice> CreateGpuTwin(const GpuTwinOptions& options) { return std::make_unique<GpuTwin>(options); }

bool GpuTwinRuns() {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return true;
#endif
}

MakeDeviceSearch GpuTwinDevices(const GpuTwinOptions& options, MakeDeviceSearch others) {
  return [options, others](std::string_view name,
                           const DeviceSearchOptions& o) -> absl::StatusOr<std::unique_ptr<DeviceSearch>> {
    if (name != "gpu") return others(name, o);
    return std::make_unique<gpu::FusedSearch>(CreateGpuTwin(options),
                                              gpu::FusedSearch::Options{.dim = o.dim, .capacity = o.capacity});
  };
}

}  // namespace evoke::testing
