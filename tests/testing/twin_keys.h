// A device that is a piece of RAM: what FAISS does on a GPU, by loops on the CPU, and what a GPU does wrong, when told.
//
// Sums are float32 in an order of their own, so that the certificate has something to certify. Threads: as DeviceKeys.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/index/device_keys.h"
#include "server/index/device_search_factory.h"
#include "server/index/key_format.h"

namespace evoke {

// Shared by all twins made with it. Thread-safe.
struct TwinFaults {
  std::atomic<int> calls = 0;                       // so far, of all that can fail
  std::atomic<int> lost_from_call = -1;             // this call and all later ones say UNAVAILABLE; -1: none
  std::atomic<uint64_t> room_bytes = ~uint64_t{0};  // Grow beyond says RESOURCE_EXHAUSTED
  std::atomic<bool> coarse = false;                 // computes in fewer bits than it says
};

class TwinKeys final : public DeviceKeys {
 public:
  TwinKeys(uint32_t dim, KeyFormat format, std::shared_ptr<TwinFaults> faults);

  absl::Status Grow(uint64_t rows) override;
  void Clear() override;
  absl::StatusOr<uint8_t*> Stage(size_t rows) override;
  absl::Status Put(absl::Span<const uint32_t> positions) override;
  absl::Status Get(absl::Span<const uint32_t> positions, uint8_t* rows) override;
  absl::Status Best(uint32_t rows, size_t count, uint32_t ask, std::vector<float>* scores,
                    std::vector<int64_t>* positions) override;
  uint32_t max_ask() const override { return 2048; }
  uint64_t DeviceBytes() const override { return keys_.size(); }

 private:
  absl::Status Call();
  void Decode(const uint8_t* row, float* out) const;

  const uint32_t dim_;
  const KeyFormat format_;
  const size_t row_bytes_;
  const std::shared_ptr<TwinFaults> faults_;
  std::vector<uint8_t> keys_;
  std::vector<uint8_t> staged_;
};

// For IndexOptions::make_device and EngineOptions::make_device.
MakeDeviceSearch TwinDevices(std::shared_ptr<TwinFaults> faults = std::make_shared<TwinFaults>());

}  // namespace evoke
