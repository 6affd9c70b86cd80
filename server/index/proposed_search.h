// A device proposes candidates by rough scores; the certificate and the canonical similarities are made here, on the CPU,
// from the shard's own keys (certified_search.h). The part of FAISS on a GPU that is ours.
//
// Keys that are not live are zeros on the device: they may be listed, and are passed over here. A row that the certificate
// fails is asked again for twice and four times as many, then left uncertified; so is one that wants more than the device
// can list. Bounds: with float32, SgemmErrorBound; with float16, TensorCoreErrorBound over the largest norm and rounding of
// any key since Clear and over the row's own.
//
// Threads, failure: as DeviceSearch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/index/certified_search.h"
#include "server/index/device_keys.h"
#include "server/index/device_search.h"
#include "server/index/device_search_factory.h"
#include "server/index/key_format.h"

namespace evoke {

class ProposedSearch final : public DeviceSearch, private ScoreSource {
 public:
  // `keys` holds rows of options.dim components in `format`, and has none yet.
  ProposedSearch(std::string_view name, KeyFormat format, std::unique_ptr<DeviceKeys> keys,
                 const DeviceSearchOptions& options);

  absl::Status Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) override;
  void Clear() override;
  absl::Status Search(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                      std::vector<SearchResult>* results, std::vector<uint8_t>* certified) override;
  absl::Status Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                      std::vector<uint32_t>* differ) override;

  std::string_view name() const override { return name_; }
  uint64_t DeviceBytes() const override { return keys_->DeviceBytes(); }
  uint64_t WidenedRows() const override { return widened_rows_; }

 private:
  bool Score(const float* rows, size_t row_count, uint32_t ask, std::vector<std::vector<Scored>>* lists) override;
  double ErrorBound(const float* row) const override;
  size_t MaxCandidates() const override;
  uint32_t MaxAsk() const override { return keys_->max_ask(); }

  absl::Status Propose(const float* rows, size_t row_count, uint32_t ask);
  // What the device is to hold at a position: the encoded key, which key_ then is too; or zeros, and false.
  bool EncodeAt(const KeyMatrixView& keys, uint32_t position, uint8_t* out);
  void Cover(const EncodingLoss& loss);
  size_t RowsPerCall() const;

  const std::string name_;
  const KeyFormat format_;
  const uint32_t dim_;
  const uint32_t capacity_;
  const size_t row_bytes_;
  const Parallel parallel_;
  const std::unique_ptr<DeviceKeys> keys_;
  uint64_t room_ = 0;   // rows that there is room for
  uint32_t rows_ = 0;   // one more than the highest position that was written
  EncodingLoss worst_;  // of every key since Clear
  uint64_t widened_rows_ = 0;
  absl::Status proposed_;          // of the search under way: why it stopped
  std::vector<float> key_;         // [dim], scratch
  std::vector<float> scores_;      // [rows, ask] of the last proposal
  std::vector<int64_t> positions_;
};

}  // namespace evoke
