// A shard's keys on a device, as the kernels want them (kernel_args.h), and the bounds that a search needs of them.
//
// A write is one copy of packed rows and one kernel that puts them in their places; the caller does not wait for either.
// Device memory: 4 bytes a component, the dimension rounded up to 16, for as many positions as GrownRows says
// (device_plan.h). Growing holds both copies for a moment. Threads and errors: as DeviceSearch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/index/gpu/fused_device.h"
#include "server/index/index.h"
#include "server/index/key_rounding.h"

namespace evoke::gpu {

class FusedKeys {
 public:
  // `device` must outlive it. `capacity`: positions that there can be.
  FusedKeys(FusedDevice* device, uint32_t dim, uint32_t capacity);

  // As of DeviceSearch.
  absl::Status Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions);
  void Clear();
  absl::Status Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions, std::vector<uint32_t>* differ);

  Planes planes() const { return {high_.as<uint16_t>(), low_.as<int16_t>(), stride_}; }
  uint32_t positions() const { return positions_; }  // those that planes() has, a multiple of kTileKeys
  const KeyRounding& rounding() const { return rounding_; }  // covers every key written since Clear
  uint64_t device_bytes() const { return high_.size_bytes() + low_.size_bytes() + packed_.size_bytes(); }

  static uint32_t StrideOf(uint32_t dim) { return (dim + kAccumulators - 1) / kAccumulators * kAccumulators; }

 private:
  absl::Status GrowTo(uint64_t positions);
  absl::Status ReserveStaging();
  absl::Status WriteSome(const KeyMatrixView& keys, absl::Span<const uint32_t> positions);
  absl::Status VerifySome(const KeyMatrixView& keys, absl::Span<const uint32_t> positions, std::vector<uint32_t>* differ);
  // What the device is to hold of a position.
  void Pack(const KeyMatrixView& keys, uint32_t position, uint16_t* high, int16_t* low) const;

  FusedDevice* const device_;
  const uint32_t dim_;
  const uint32_t stride_;
  const uint32_t capacity_;
  const uint32_t rows_at_once_;  // that pass through the staging buffers

  uint32_t positions_ = 0;
  Block high_;
  Block low_;
  KeyRounding rounding_;
  Block staging_;  // pinned: high plane, low plane, positions of some rows
  Block packed_;   // the same on the device
  bool staging_in_use_ = false;  // a copy from it may be under way
};

}  // namespace evoke::gpu
