#include "server/index/gpu_index.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

// A pass over the keys takes positions in turns of so many: a list of all of 33 million would be 128 MiB.
constexpr size_t kRebuildPositions = size_t{1} << 20;

}  // namespace

GpuIndex::GpuIndex(std::string_view name, absl::StatusOr<std::unique_ptr<DeviceSearch>> device,
                   const IndexOptions& options)
    : name_(name), device_(options.device), on_search_(options.on_device_search), flat_(options.parallel) {
  if (device.ok()) {
    search_ = *std::move(device);
  } else {
    Degrade(device.status());
  }
}

std::vector<SearchResult> GpuIndex::Search(const KeyMatrixView& keys, const float* rows,
                                           absl::Span<const uint32_t> want) {
  if (!Tell(keys, {})) return flat_.Search(keys, rows, want);
  std::vector<SearchResult> results;
  std::vector<uint8_t> certified;
  const auto began = std::chrono::steady_clock::now();
  const absl::Status searched = search_->Search(keys, rows, want, &results, &certified);
  if (on_search_) on_search_(device_, absl::FromChrono(std::chrono::steady_clock::now() - began));
  if (!searched.ok()) {
    Degrade(searched);
    return flat_.Search(keys, rows, want);
  }
  AnswerOthers(keys, rows, want, certified, &results);
  return results;
}

void GpuIndex::AnswerOthers(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                            const std::vector<uint8_t>& certified, std::vector<SearchResult>* results) {
  std::vector<uint32_t> others;
  std::vector<uint32_t> wanted;
  std::vector<float> packed;
  for (uint32_t row = 0; row < want.size(); ++row) {
    if (certified[row] != 0) continue;
    others.push_back(row);
    wanted.push_back(want[row]);
    packed.insert(packed.end(), rows + size_t{row} * keys.dim, rows + (size_t{row} + 1) * keys.dim);
  }
  if (others.empty()) return;
  left_rows_ += others.size();
  std::vector<SearchResult> found = flat_.Search(keys, packed.data(), wanted);
  for (size_t i = 0; i < others.size(); ++i) (*results)[others[i]] = std::move(found[i]);
}

void GpuIndex::Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  flat_.Upsert(keys, positions);
  Tell(keys, positions);
}

void GpuIndex::Erase(absl::Span<const uint32_t> positions) {
  if (search_ != nullptr) erased_.insert(erased_.end(), positions.begin(), positions.end());
}

void GpuIndex::Rebuild(const KeyMatrixView& keys) {
  flat_.Rebuild(keys);
  erased_.clear();
  if (search_ == nullptr) return;
  search_->Clear();
  std::vector<uint32_t> live;
  for (uint32_t position = 0; position < keys.rows && search_ != nullptr; ++position) {
    if (keys.IsLive(position)) live.push_back(position);
    if (live.size() < kRebuildPositions) continue;
    Tell(keys, live);
    live.clear();
  }
  Tell(keys, live);
}

bool GpuIndex::Tell(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const {
  if (search_ == nullptr) return false;
  std::vector<uint32_t> all = std::exchange(erased_, {});
  all.insert(all.end(), positions.begin(), positions.end());
  if (all.empty()) return true;
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  if (const absl::Status written = search_->Write(keys, all); !written.ok()) Degrade(written);
  return search_ != nullptr;
}

std::vector<uint32_t> GpuIndex::Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) const {
  std::vector<uint32_t> differ;
  if (!Tell(keys, {})) return differ;  // there is no copy
  const absl::Status verified = search_->Verify(keys, positions, &differ);
  if (verified.ok()) return differ;
  Degrade(verified);
  return {};
}

void GpuIndex::Degrade(const absl::Status& why) const {
  degraded_ = absl::StrCat("index ", name_, " on GPU ", device_, " is searched on the CPU instead: ", why.message());
  if (search_ != nullptr) widened_before_ += search_->WidenedRows();
  search_.reset();
  erased_.clear();
}

IndexStats GpuIndex::stats() const {
  IndexStats stats = flat_.stats();
  stats.uncertified_rows += left_rows_ + widened_before_ + (search_ != nullptr ? search_->WidenedRows() : 0);
  return stats;
}

DeviceUse GpuIndex::device() const {
  return {.device = device_, .bytes = search_ != nullptr ? search_->DeviceBytes() : 0};
}

}  // namespace evoke
