// "gpu": the certified scan (server/index/certified_scan.h) on a device, by kernels that never write a score matrix.
//
// A Search is a chain of kernels in one stream, and one wait at its end:
//
//   rows --copy--> [Scan a sample: maxima] -> Begin: thresholds -> Scan: lists -> Decide --> answers in the host's memory
//
// Rows that could not be certified because their first threshold was wrong go through the chain again, with one that this
// attempt proved or, failing that, a more cautious guess; up to three times, while that can help. What is left then is for
// the caller, and so are rows that want more than 1,024 keys, and all of them when norms are so large that no bound can be
// given. All are counted.
//
// Device memory: that of FusedKeys and a search's scratch: 20 KB to 0.4 MB a row, at most 1,024 rows at a time. Threads and
// errors: as DeviceSearch. After UNAVAILABLE every call answers the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/index/device_search.h"
#include "server/index/gpu/fused_device.h"
#include "server/index/gpu/fused_keys.h"
#include "server/index/gpu/search_round.h"

namespace evoke::gpu {

// Counted since Create.
struct FusedStats {
  uint64_t too_high = 0;  // rows whose first threshold hid a part of what could be their answer
  uint64_t too_many = 0;  // rows that found more keys than a list holds at first
  uint64_t given_up = 0;  // rows that the caller had to answer, whatever the reason
};

class FusedSearch final : public DeviceSearch {
 public:
  struct Options {
    uint32_t dim = 0;
    uint32_t capacity = 0;  // positions that there can be
  };
  FusedSearch(std::unique_ptr<FusedDevice> device, const Options& options);
  ~FusedSearch() override;

  absl::Status Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Clear() override;
  absl::Status Search(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                      std::vector<SearchResult>* results, std::vector<uint8_t>* certified) override;
  absl::Status Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                      std::vector<uint32_t>* differ) override;
  std::string_view name() const override { return "gpu"; }
  uint64_t DeviceBytes() const override;
  uint64_t WidenedRows() const override { return widened_rows_; }

  const FusedStats& stats() const { return stats_; }

 private:
  absl::Status SearchRows(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                          std::vector<SearchResult>* results, std::vector<uint8_t>* certified);
  absl::Status RunRound(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want, SearchRound* round,
                        std::vector<SearchResult>* results, std::vector<uint8_t>* certified);
  absl::Status ReserveScratch(const SearchRound& round);
  void PackRows(const float* rows, const SearchRound& round);
  absl::Status Sample(const SearchRound& round);
  void SetMargins(const float* rows, SearchRound* round);
  absl::Status ScanAndDecide(const SearchRound& round);
  absl::Status Keep(absl::Status status);  // in lost_, if it is UNAVAILABLE

  const std::unique_ptr<FusedDevice> device_;  // before the blocks, which go back to it
  const uint32_t dim_;
  const uint32_t stride_;
  FusedKeys keys_;
  Block pinned_;   // inputs, then outputs: outcomes, answers
  Block inputs_;   // rows in bfloat16, in float32, and their arguments
  Block maxima_;
  Block lists_;    // lists, thresholds, counts
  FusedStats stats_;
  uint64_t widened_rows_ = 0;
  absl::Status lost_;
};

}  // namespace evoke::gpu
