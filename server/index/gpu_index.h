// An index on a device, and what becomes of it when the device does not answer: the same bits, from the CPU.
//
// Beside the device stands a FlatIndex, which costs nothing but time: keys lie in the shard's planes. It answers the rows
// that the device does not certify, and from the first error of the device on (lost, or no memory) all of them, for good:
// until the memory is loaded again. degraded() then says why. A device that is not there at the start is the same.
//
// Threads: as Index. Failure: none leaves. Cost: Upserts and erasures of a turn are one Write to the device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/index/device_search.h"
#include "server/index/flat_index.h"
#include "server/index/index.h"
#include "server/index/index_factory.h"

namespace evoke {

class GpuIndex final : public Index {
 public:
  // `device`: made for options.device, or why there is none.
  GpuIndex(std::string_view name, absl::StatusOr<std::unique_ptr<DeviceSearch>> device, const IndexOptions& options);

  std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                   absl::Span<const uint32_t> want) override;
  void Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Erase(absl::Span<const uint32_t> positions) override;
  void Rebuild(const KeyMatrixView& keys) override;
  std::vector<uint32_t> Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const override;

  bool exact() const override { return true; }
  std::string_view name() const override { return name_; }
  uint64_t MemoryBytes() const override { return 0; }
  IndexStats stats() const override;
  DeviceUse device() const override;
  std::string_view degraded() const override { return degraded_; }

 private:
  // Requires: a device. Tells it what was erased since, and what is named; false: it has none any more.
  bool Tell(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const;
  void Degrade(const absl::Status& why) const;
  void AnswerOthers(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                    const std::vector<uint8_t>& certified, std::vector<SearchResult>* results);

  const std::string name_;
  const int device_;
  const std::function<void(int, absl::Duration)> on_search_;
  FlatIndex flat_;
  // An erasure comes without keys, and so waits for the next call that brings them: Verify too, hence mutable. Nothing that
  // is asked of the index shows when the device was told.
  mutable std::vector<uint32_t> erased_;
  mutable std::unique_ptr<DeviceSearch> search_;
  mutable std::string degraded_;         // empty: search_ is there
  mutable uint64_t widened_before_ = 0;  // of a search_ that is gone
  uint64_t left_rows_ = 0;               // that the device did not certify
};

}  // namespace evoke
