#include "tests/testing/twin_keys.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstring>
#include <numeric>
#include <utility>

#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/index/list_merger.h"
#include "server/index/proposed_search.h"

namespace evoke {

namespace {

constexpr uint32_t kPartRows = 1500;

}  // namespace

TwinKeys::TwinKeys(uint32_t dim, KeyFormat format, std::shared_ptr<TwinFaults> faults)
    : dim_(dim), format_(format), row_bytes_(size_t{dim} * ComponentBytes(format)), faults_(std::move(faults)) {}

absl::Status TwinKeys::Call() {
  const int call = faults_->calls++;
  if (faults_->lost_from_call < 0 || call < faults_->lost_from_call) return absl::OkStatus();
  return absl::UnavailableError("the twin is lost");
}

absl::Status TwinKeys::Grow(uint64_t rows) {
  EVOKE_RETURN_IF_ERROR(Call());
  const uint64_t bytes = rows * row_bytes_;
  if (bytes > faults_->room_bytes) return absl::ResourceExhaustedError("the twin is full");
  EVOKE_CHECK(bytes >= keys_.size());
  keys_.resize(bytes);
  return absl::OkStatus();
}

void TwinKeys::Clear() { keys_.clear(); }

absl::StatusOr<uint8_t*> TwinKeys::Stage(size_t rows) {
  EVOKE_RETURN_IF_ERROR(Call());
  staged_.assign(rows * row_bytes_, 0xee);
  return staged_.data();
}

absl::Status TwinKeys::Put(absl::Span<const uint32_t> positions) {
  EVOKE_RETURN_IF_ERROR(Call());
  EVOKE_CHECK(positions.size() * row_bytes_ == staged_.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    EVOKE_CHECK((positions[i] + uint64_t{1}) * row_bytes_ <= keys_.size());
    std::memcpy(&keys_[positions[i] * row_bytes_], &staged_[i * row_bytes_], row_bytes_);
  }
  return absl::OkStatus();
}

absl::Status TwinKeys::Get(absl::Span<const uint32_t> positions, uint8_t* rows) {
  EVOKE_RETURN_IF_ERROR(Call());
  for (size_t i = 0; i < positions.size(); ++i) {
    EVOKE_CHECK((positions[i] + uint64_t{1}) * row_bytes_ <= keys_.size());
    std::memcpy(rows + i * row_bytes_, &keys_[positions[i] * row_bytes_], row_bytes_);
  }
  return absl::OkStatus();
}

// What a row is when it is multiplied.
void TwinKeys::Decode(const uint8_t* row, float* out) const {
  for (uint32_t e = 0; e < dim_; ++e) {
    if (format_ == KeyFormat::kFloat16) {
      uint16_t half;
      std::memcpy(&half, row + sizeof half * e, sizeof half);
      out[e] = FromFloat16(half);
    } else {
      std::memcpy(out + e, row + sizeof(float) * e, sizeof(float));
      if (faults_->coarse) out[e] = std::bit_cast<float>((std::bit_cast<uint32_t>(out[e]) + 0x1000u) & ~0x1fffu);  // TF32
    }
  }
}

namespace {

// Four sums side by side: neither the canonical order nor the plain one.
float Score(const float* key, const float* row, uint32_t dim) {
  float sums[4] = {};
  uint32_t e = 0;
  for (; e + 4 <= dim; e += 4) {
    for (uint32_t lane = 0; lane < 4; ++lane) sums[lane] += key[e + lane] * row[e + lane];
  }
  for (; e < dim; ++e) sums[0] += key[e] * row[e];
  return (sums[3] + sums[1]) + (sums[2] + sums[0]);
}

}  // namespace

absl::Status TwinKeys::Best(uint32_t rows, size_t count, uint32_t ask, std::vector<float>* scores,
                            std::vector<int64_t>* positions) {
  EVOKE_RETURN_IF_ERROR(Call());
  EVOKE_CHECK(count * row_bytes_ == staged_.size() && ask > 0 && ask <= max_ask() && ask <= rows);
  EVOKE_CHECK(rows * row_bytes_ <= keys_.size());
  std::vector<float> keys(size_t{rows} * dim_);
  for (uint32_t p = 0; p < rows; ++p) Decode(&keys_[p * row_bytes_], &keys[size_t{p} * dim_]);
  std::vector<float> row(dim_);
  ListMerger merger(count, ask);
  for (uint32_t first = 0; first < rows; first += kPartRows) {
    const uint32_t part = std::min(kPartRows, rows - first);
    std::vector<float> all(part);
    std::vector<int64_t> order(part);
    std::vector<float> part_scores;
    std::vector<int64_t> part_positions;
    const uint32_t listed = std::min(ask, part + 3);  // at the end of a list may be what was not found
    for (size_t i = 0; i < count; ++i) {
      Decode(&staged_[i * row_bytes_], row.data());
      for (uint32_t p = 0; p < part; ++p) all[p] = Score(&keys[size_t{first + p} * dim_], row.data(), dim_);
      std::iota(order.begin(), order.end(), 0);
      // Equal scores in the order that no one expects.
      const uint32_t found = std::min(listed, part);
      std::nth_element(order.begin(), order.begin() + (found - 1), order.end(),
                       [&](int64_t a, int64_t b) { return all[a] != all[b] ? all[a] > all[b] : a > b; });
      for (uint32_t n = 0; n < listed; ++n) {
        part_scores.push_back(n < found ? all[order[n]] : -FLT_MAX);
        part_positions.push_back(n < found ? order[n] : -1);
      }
    }
    merger.Add(part_scores.data(), part_positions.data(), listed, first);
  }
  merger.Take(scores, positions);
  return absl::OkStatus();
}

MakeDeviceSearch TwinDevices(std::shared_ptr<TwinFaults> faults) {
  return [faults](std::string_view name, const DeviceSearchOptions& options) -> absl::StatusOr<std::unique_ptr<DeviceSearch>> {
    const KeyFormat format = name == "faiss_gpu_f16" ? KeyFormat::kFloat16 : KeyFormat::kFloat32;
    return std::make_unique<ProposedSearch>(name, format, std::make_unique<TwinKeys>(options.dim, format, faults), options);
  };
}

}  // namespace evoke
