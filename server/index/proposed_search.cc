#include "server/index/proposed_search.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <utility>

#include "server/base/status_macros.h"
#include "server/index/device_plan.h"
#include "server/similarity/error_bound.h"

namespace evoke {
namespace {

// Staged at a time: large enough that a copy takes longer than beginning it, small enough to be pinned for good.
constexpr size_t kStageBytes = size_t{8} << 20;
// Entries of one proposal's lists: 12 bytes each as they come back, 12 as candidates, 24 MiB together.
constexpr size_t kCallEntries = size_t{1} << 20;

}  // namespace

ProposedSearch::ProposedSearch(std::string_view name, KeyFormat format, std::unique_ptr<DeviceKeys> keys,
                               const DeviceSearchOptions& options)
    : name_(name),
      format_(format),
      dim_(options.dim),
      capacity_(options.capacity),
      row_bytes_(size_t{options.dim} * ComponentBytes(format)),
      parallel_(options.parallel),
      keys_(std::move(keys)),
      key_(options.dim) {}

size_t ProposedSearch::RowsPerCall() const { return std::max<size_t>(1, kStageBytes / row_bytes_); }

absl::Status ProposedSearch::Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  if (positions.empty()) return absl::OkStatus();
  const uint32_t end = positions.back() + 1;
  if (end > room_) {
    const uint64_t room = GrownRows(room_, end, capacity_);
    EVOKE_RETURN_IF_ERROR(keys_->Grow(room));
    room_ = room;
  }
  rows_ = std::max(rows_, end);
  while (!positions.empty()) {
    const absl::Span<const uint32_t> part = positions.subspan(0, RowsPerCall());
    EVOKE_ASSIGN_OR_RETURN(uint8_t* const staged, keys_->Stage(part.size()));
    for (size_t i = 0; i < part.size(); ++i) {
      if (EncodeAt(keys, part[i], staged + i * row_bytes_)) Cover(LossOf(format_, key_.data(), dim_));
    }
    EVOKE_RETURN_IF_ERROR(keys_->Put(part));
    positions.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

bool ProposedSearch::EncodeAt(const KeyMatrixView& keys, uint32_t position, uint8_t* out) {
  if (position >= keys.rows || !keys.IsLive(position)) {
    std::memset(out, 0, row_bytes_);
    return false;
  }
  Join(keys.row(position), static_cast<int>(dim_), key_.data());
  Encode(format_, key_.data(), dim_, out);
  return true;
}

void ProposedSearch::Cover(const EncodingLoss& loss) {
  // Not std::max: what is not a number must stay, for no row is certified by such a bound.
  worst_.norm = loss.norm <= worst_.norm ? worst_.norm : loss.norm;
  worst_.lost = loss.lost <= worst_.lost ? worst_.lost : loss.lost;
}

void ProposedSearch::Clear() {
  keys_->Clear();
  room_ = rows_ = 0;
  worst_ = {};
}

absl::Status ProposedSearch::Search(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                                    std::vector<SearchResult>* results, std::vector<uint8_t>* certified) {
  proposed_ = absl::OkStatus();
  uint64_t uncertified = 0;
  CertifiedRounds(keys, rows, want, this, parallel_, results, certified, &uncertified);
  EVOKE_RETURN_IF_ERROR(proposed_);
  for (const uint8_t round : *certified) widened_rows_ += round > 1 ? 1 : 0;
  return absl::OkStatus();
}

bool ProposedSearch::Score(const float* rows, size_t row_count, uint32_t ask,
                           std::vector<std::vector<Scored>>* lists) {
  lists->assign(row_count, {});
  if (proposed_.ok()) proposed_ = Propose(rows, row_count, ask);
  if (!proposed_.ok()) return false;
  for (size_t row = 0; row < row_count; ++row) {
    std::vector<Scored>& list = (*lists)[row];
    list.reserve(ask);
    for (size_t i = row * ask; i < (row + 1) * ask; ++i) {
      // Where fewer numbers than that were compared a list is filled up, with places that may be listed already.
      if (!(scores_[i] > -FLT_MAX) || positions_[i] < 0 || positions_[i] >= int64_t{rows_}) continue;
      list.push_back({scores_[i], static_cast<uint32_t>(positions_[i])});
    }
  }
  return true;
}

absl::Status ProposedSearch::Propose(const float* rows, size_t row_count, uint32_t ask) {
  EVOKE_ASSIGN_OR_RETURN(uint8_t* const staged, keys_->Stage(row_count));
  for (size_t row = 0; row < row_count; ++row) Encode(format_, rows + row * dim_, dim_, staged + row * row_bytes_);
  return keys_->Best(rows_, row_count, ask, &scores_, &positions_);
}

double ProposedSearch::ErrorBound(const float* row) const {
  const EncodingLoss loss = LossOf(format_, row, dim_);
  if (format_ == KeyFormat::kFloat32) return SgemmErrorBound(static_cast<int>(dim_), loss.norm, worst_.norm);
  return TensorCoreErrorBound(static_cast<int>(dim_), loss.norm, loss.lost, worst_.norm, worst_.lost);
}

size_t ProposedSearch::MaxCandidates() const { return kCallEntries; }

absl::Status ProposedSearch::Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                                    std::vector<uint32_t>* differ) {
  differ->clear();
  std::vector<uint8_t> expected(row_bytes_);
  std::vector<uint8_t> held;
  for (; !positions.empty(); positions.remove_prefix(std::min(positions.size(), RowsPerCall()))) {
    const absl::Span<const uint32_t> part = positions.subspan(0, RowsPerCall());
    std::vector<uint32_t> written;
    for (const uint32_t position : part) {
      if (position < rows_) written.push_back(position);
    }
    held.resize(written.size() * row_bytes_);
    EVOKE_RETURN_IF_ERROR(keys_->Get(written, held.data()));
    size_t next = 0;
    for (const uint32_t position : part) {
      const bool live = position < keys.rows && keys.IsLive(position);
      if (position >= rows_) {
        if (live) differ->push_back(position);
        continue;
      }
      EncodeAt(keys, position, expected.data());
      if (std::memcmp(expected.data(), held.data() + next++ * row_bytes_, row_bytes_) != 0) differ->push_back(position);
    }
  }
  return absl::OkStatus();
}

}  // namespace evoke
