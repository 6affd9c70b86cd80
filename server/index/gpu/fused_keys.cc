#include "server/index/gpu/fused_keys.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/index/device_plan.h"

namespace evoke::gpu {
namespace {

constexpr size_t kStagingBytes = size_t{8} << 20;

uint64_t Tiles(uint64_t positions) { return (positions + kTileKeys - 1) / kTileKeys; }

size_t RowBytes(uint32_t stride) { return stride * (sizeof(uint16_t) + sizeof(int16_t)) + sizeof(uint32_t); }

uint32_t RowsAtOnce(uint32_t stride) {
  return static_cast<uint32_t>(std::max<size_t>(1, kStagingBytes / RowBytes(stride)));
}

// Some packed rows: the high plane, the low one, the positions.
struct PackedRows {
  PackedRows(const Block& block, uint32_t count, uint32_t stride)
      : planes{block.as<uint16_t>(), block.as<int16_t>(size_t{count} * stride * sizeof(uint16_t)), stride},
        positions(block.as<uint32_t>(size_t{count} * stride * (sizeof(uint16_t) + sizeof(int16_t)))) {}
  Planes planes;
  uint32_t* positions;
};

}  // namespace

FusedKeys::FusedKeys(FusedDevice* device, uint32_t dim, uint32_t capacity)
    : device_(device),
      dim_(dim),
      stride_(StrideOf(dim)),
      capacity_(capacity),
      rows_at_once_(RowsAtOnce(StrideOf(dim))),
      high_(device, FusedDevice::Where::kDevice),
      low_(device, FusedDevice::Where::kDevice),
      staging_(device, FusedDevice::Where::kPinned),
      packed_(device, FusedDevice::Where::kDevice) {}

absl::Status FusedKeys::Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  uint64_t end = 0;
  for (const uint32_t position : positions) {
    if (position < keys.rows && keys.IsLive(position)) end = std::max(end, uint64_t{position} + 1);
  }
  if (end > kMaxPositions) {
    return absl::ResourceExhaustedError(absl::StrCat("position ", end - 1, " is beyond the ", kMaxPositions, " of a device"));
  }
  // All memory first: after an error nothing has changed.
  EVOKE_RETURN_IF_ERROR(ReserveStaging());
  EVOKE_RETURN_IF_ERROR(GrowTo(end));
  std::vector<uint32_t> some;
  for (const uint32_t position : positions) {
    if (position >= positions_) continue;  // not live, and never was
    some.push_back(position);
    if (some.size() < rows_at_once_) continue;
    EVOKE_RETURN_IF_ERROR(WriteSome(keys, some));
    some.clear();
  }
  return WriteSome(keys, some);
}

absl::Status FusedKeys::WriteSome(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  if (positions.empty()) return absl::OkStatus();
  if (staging_in_use_) EVOKE_RETURN_IF_ERROR(device_->Synchronize());
  const auto count = static_cast<uint32_t>(positions.size());
  const PackedRows rows(staging_, count, stride_);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t position = positions[i];
    Pack(keys, position, rows.planes.high + size_t{i} * stride_, rows.planes.low + size_t{i} * stride_);
    rows.positions[i] = position;
    if (position < keys.rows && keys.IsLive(position)) rounding_.Cover(keys.row(position), dim_);
  }
  staging_in_use_ = true;
  EVOKE_RETURN_IF_ERROR(device_->ToDevice(packed_.as<char>(), staging_.as<char>(), count * RowBytes(stride_)));
  const PackedRows on_device(packed_, count, stride_);
  return device_->Scatter({planes(), on_device.planes, on_device.positions, count});
}

void FusedKeys::Pack(const KeyMatrixView& keys, uint32_t position, uint16_t* high, int16_t* low) const {
  if (position >= keys.rows || !keys.IsLive(position)) {
    std::fill_n(high, stride_, kDeadHigh);
    std::fill_n(low, stride_, int16_t{0});
    return;
  }
  const SplitVector key = keys.row(position);
  std::copy_n(key.high, dim_, high);
  std::copy_n(key.low, dim_, low);
  std::fill_n(high + dim_, stride_ - dim_, uint16_t{0});
  std::fill_n(low + dim_, stride_ - dim_, int16_t{0});
}

absl::Status FusedKeys::ReserveStaging() {
  const size_t bytes = rows_at_once_ * RowBytes(stride_);
  if (staging_.size_bytes() < bytes) EVOKE_RETURN_IF_ERROR(staging_.Reserve(bytes));
  return packed_.Reserve(bytes);
}

absl::Status FusedKeys::GrowTo(uint64_t positions) {
  if (positions <= positions_) return absl::OkStatus();
  const uint64_t rows = Tiles(GrownRows(positions_, positions, std::max<uint64_t>(positions, capacity_))) * kTileKeys;
  Block high(device_, FusedDevice::Where::kDevice);
  Block low(device_, FusedDevice::Where::kDevice);
  EVOKE_RETURN_IF_ERROR(high.Reserve(rows * stride_ * sizeof(uint16_t)));
  EVOKE_RETURN_IF_ERROR(low.Reserve(rows * stride_ * sizeof(int16_t)));
  if (positions_ > 0) {
    const size_t bytes = size_t{positions_} * stride_ * sizeof(uint16_t);
    EVOKE_RETURN_IF_ERROR(device_->OnDevice(high.as<char>(), high_.as<char>(), bytes));
    EVOKE_RETURN_IF_ERROR(device_->OnDevice(low.as<char>(), low_.as<char>(), bytes));
  }
  EVOKE_RETURN_IF_ERROR(device_->Clear({.keys = {high.as<uint16_t>(), low.as<int16_t>(), stride_},
                                        .first = positions_,
                                        .count = static_cast<uint32_t>(rows - positions_)}));
  high_.Swap(&high);
  low_.Swap(&low);
  positions_ = static_cast<uint32_t>(rows);
  return absl::OkStatus();
}

void FusedKeys::Clear() {
  high_.Release();
  low_.Release();
  packed_.Release();
  staging_.Release();
  staging_in_use_ = false;  // a release has waited
  positions_ = 0;
  rounding_ = {};
}

absl::Status FusedKeys::Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                               std::vector<uint32_t>* differ) {
  EVOKE_RETURN_IF_ERROR(ReserveStaging());
  std::vector<uint32_t> some;
  for (const uint32_t position : positions) {
    if (position >= positions_) {
      if (position < keys.rows && keys.IsLive(position)) differ->push_back(position);
      continue;
    }
    some.push_back(position);
    if (some.size() < rows_at_once_) continue;
    EVOKE_RETURN_IF_ERROR(VerifySome(keys, some, differ));
    some.clear();
  }
  return VerifySome(keys, some, differ);
}

absl::Status FusedKeys::VerifySome(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                                   std::vector<uint32_t>* differ) {
  if (positions.empty()) return absl::OkStatus();
  if (staging_in_use_) EVOKE_RETURN_IF_ERROR(device_->Synchronize());
  staging_in_use_ = true;
  const auto count = static_cast<uint32_t>(positions.size());
  const PackedRows rows(staging_, count, stride_);
  const PackedRows on_device(packed_, count, stride_);
  std::copy(positions.begin(), positions.end(), rows.positions);
  EVOKE_RETURN_IF_ERROR(device_->ToDevice(on_device.positions, rows.positions, count * sizeof(uint32_t)));
  EVOKE_RETURN_IF_ERROR(device_->Gather({planes(), on_device.planes, on_device.positions, count}));
  const size_t plane_bytes = size_t{count} * stride_ * sizeof(uint16_t);
  EVOKE_RETURN_IF_ERROR(device_->ToHost(rows.planes.high, on_device.planes.high, 2 * plane_bytes));
  EVOKE_RETURN_IF_ERROR(device_->Synchronize());
  staging_in_use_ = false;
  std::vector<uint16_t> high(stride_);
  std::vector<int16_t> low(stride_);
  for (uint32_t i = 0; i < count; ++i) {
    Pack(keys, positions[i], high.data(), low.data());
    const size_t at = size_t{i} * stride_;
    if (std::memcmp(high.data(), rows.planes.high + at, stride_ * sizeof(uint16_t)) != 0 ||
        std::memcmp(low.data(), rows.planes.low + at, stride_ * sizeof(int16_t)) != 0) {
      differ->push_back(positions[i]);
    }
  }
  return absl::OkStatus();
}

}  // namespace evoke::gpu
