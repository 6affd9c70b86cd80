// Keys in device memory of our own, searched by FAISS: faiss::gpu::bfKnn over what lies there, so that a key is written
// over in place. Or, to compare with, by a GpuIndexFlat, which is made anew after every change.
//
// Writes are staged in pinned memory, in two buffers by turns, and scattered in the device's one stream: nothing waits but
// for the buffer before the last, and for answers. Threads, failure: as DeviceKeys.
#pragma once

#include <faiss/gpu/GpuIndexFlat.h>

#include <memory>
#include <vector>

#include "server/index/device_keys.h"
#include "server/index/gpu/device.h"
#include "server/index/gpu/faiss_device.h"
#include "server/index/key_format.h"

namespace evoke {

class FaissKeys final : public DeviceKeys {
 public:
  struct Options {
    int device = 0;
    uint32_t dim = 0;
    KeyFormat format = KeyFormat::kFloat32;
    bool rebuild_flat = false;  // GpuIndexFlat; float32 only
  };
  static absl::StatusOr<std::unique_ptr<FaissKeys>> Create(const Options& options);
  ~FaissKeys() override;

  absl::Status Grow(uint64_t rows) override;
  void Clear() override;
  absl::StatusOr<uint8_t*> Stage(size_t rows) override;
  absl::Status Put(absl::Span<const uint32_t> positions) override;
  absl::Status Get(absl::Span<const uint32_t> positions, uint8_t* rows) override;
  absl::Status Best(uint32_t rows, size_t count, uint32_t ask, std::vector<float>* scores,
                    std::vector<int64_t>* positions) override;
  // What FAISS 1.7.3 selects at most; it ends the process when asked for more (GPU_MAX_SELECTION_K).
  uint32_t max_ask() const override { return 2048; }
  uint64_t DeviceBytes() const override;

 private:
  FaissKeys(FaissDevice* faiss, const Options& options);
  absl::Status CopyToDevice(uint64_t bytes);
  absl::Status Rebuild(uint32_t rows);
  // Of the keys: those that one call of FAISS searches, and how many it lists.
  struct Part {
    uint32_t first;
    uint32_t rows;
    uint32_t ask;
  };
  absl::Status SearchPart(const Part& part, size_t count);
  absl::Status Propose(const Part& part, size_t row, size_t count);

  struct Staging {
    PinnedBuffer buffer;
    Event copied;
  };

  FaissDevice* const faiss_;
  const Options options_;
  const size_t row_bytes_;
  DeviceBuffer keys_;                             // [room, dim]
  Staging staging_[2];
  int turn_ = 0;                                  // of staging_, staged last
  size_t staged_rows_ = 0;
  DeviceBuffer staged_;                           // what was staged last, on the device
  DeviceBuffer scores_, positions_;               // [count, ask] of a search
  PinnedBuffer answers_;                          // scores and positions, or rows of a Get
  Event answered_;
  std::unique_ptr<faiss::gpu::GpuIndexFlatIP> flat_;
  bool changed_ = true;                           // since flat_ was made
};

}  // namespace evoke
