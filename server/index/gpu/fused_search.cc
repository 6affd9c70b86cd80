#include "server/index/gpu/fused_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "server/base/status_macros.h"
#include "server/index/gpu/row_rounding.h"
#include "server/similarity/error_bound.h"
#include "server/similarity/split_vector.h"

namespace evoke::gpu {
namespace {

constexpr float kEverything = -std::numeric_limits<float>::infinity();
// A list that overflowed gives a threshold that a fraction of the keys reaches, at most `want` of its capacity: three of
// them leave one key of 500.
constexpr int kAttempts = 4;

float AtLeast(double x) {
  const auto rounded = static_cast<float>(x);
  return double{rounded} < x ? std::nextafter(rounded, std::numeric_limits<float>::infinity()) : rounded;
}

}  // namespace

FusedSearch::FusedSearch(std::unique_ptr<FusedDevice> device, const Options& options)
    : device_(std::move(device)),
      dim_(options.dim),
      stride_(FusedKeys::StrideOf(options.dim)),
      keys_(device_.get(), options.dim, options.capacity),
      pinned_(device_.get(), FusedDevice::Where::kPinned),
      inputs_(device_.get(), FusedDevice::Where::kDevice),
      maxima_(device_.get(), FusedDevice::Where::kDevice),
      lists_(device_.get(), FusedDevice::Where::kDevice) {}

FusedSearch::~FusedSearch() = default;

absl::Status FusedSearch::Keep(absl::Status status) {
  if (absl::IsUnavailable(status)) lost_ = status;
  return status;
}

absl::Status FusedSearch::Write(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) {
  EVOKE_RETURN_IF_ERROR(lost_);
  return Keep(keys_.Write(keys, positions));
}

void FusedSearch::Clear() {
  keys_.Clear();
  for (Block* block : {&pinned_, &inputs_, &maxima_, &lists_}) block->Release();
}

absl::Status FusedSearch::Verify(const KeyMatrixView& keys, absl::Span<const uint32_t> positions,
                                 std::vector<uint32_t>* differ) {
  EVOKE_RETURN_IF_ERROR(lost_);
  return Keep(keys_.Verify(keys, positions, differ));
}

uint64_t FusedSearch::DeviceBytes() const {
  return keys_.device_bytes() + inputs_.size_bytes() + maxima_.size_bytes() + lists_.size_bytes();
}

absl::Status FusedSearch::Search(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                                 std::vector<SearchResult>* results, std::vector<uint8_t>* certified) {
  results->assign(want.size(), {});
  certified->assign(want.size(), 0);
  EVOKE_RETURN_IF_ERROR(lost_);
  if (keys.live_count == 0) {
    certified->assign(want.size(), 1);
    return absl::OkStatus();
  }
  const absl::Status status = Keep(SearchRows(keys, rows, want, results, certified));
  if (!status.ok()) certified->assign(want.size(), 0);
  return status;
}

absl::Status FusedSearch::SearchRows(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                                     std::vector<SearchResult>* results, std::vector<uint8_t>* certified) {
  const bool usable = keys_.positions() > 0 && std::isfinite(keys_.rounding().norm()) &&
                      std::isfinite(keys_.rounding().lost(Rounding::kBfloat16));
  for (size_t row = 0; row < want.size();) {
    SearchRound first;
    for (; row < want.size() && first.count() < SearchRound::kMostRows; ++row) {
      const auto wanted = static_cast<uint32_t>(std::min<uint64_t>(want[row], keys.live_count));
      if (!usable || wanted > kMaxWant) {
        ++stats_.given_up;
        continue;
      }
      first.places.push_back(static_cast<uint32_t>(row));
      first.args.push_back({.want = wanted, .threshold = kEverything});
    }
    if (first.places.empty()) continue;
    first.PlanPasses(stride_, device_->shared_bytes());
    // Lists hold all live keys, or a sample says where to begin.
    if (keys.live_count > first.capacity) first.PlanSample(keys_.positions());
    EVOKE_RETURN_IF_ERROR(RunRound(keys, rows, want, &first, results, certified));
  }
  return absl::OkStatus();
}

absl::Status FusedSearch::RunRound(const KeyMatrixView& keys, const float* rows, absl::Span<const uint32_t> want,
                                   SearchRound* round, std::vector<SearchResult>* results, std::vector<uint8_t>* certified) {
  EVOKE_RETURN_IF_ERROR(ReserveScratch(*round));
  PackRows(rows, *round);
  EVOKE_RETURN_IF_ERROR(
      device_->ToDevice(inputs_.as<char>(), pinned_.as<char>(), SearchRound::row_args(round->padded(), stride_)));
  if (round->samples > 0) EVOKE_RETURN_IF_ERROR(Sample(*round));
  SetMargins(rows, round);  // while the device is busy with the sample
  EVOKE_RETURN_IF_ERROR(ScanAndDecide(*round));
  EVOKE_RETURN_IF_ERROR(device_->Synchronize());

  const size_t outputs = round->input_bytes(stride_);
  const Outcome* const outcomes = pinned_.as<Outcome>(outputs);
  const Answer* const answers = pinned_.as<Answer>(outputs + round->results());
  SearchRound again;
  again.attempt = round->attempt + 1;
  for (uint32_t r = 0; r < round->count(); ++r) {
    const uint32_t place = round->places[r];
    const Outcome& outcome = outcomes[r];
    RowArgs args = round->args[r];
    if (outcome.decision == Decision::kCertified) {
      SearchResult& result = (*results)[place];
      result.candidates.resize(args.want);
      for (uint32_t i = 0; i < args.want; ++i) {
        const Answer& answer = answers[args.result + i];
        result.candidates[i] = {answer.position, answer.similarity};
      }
      result.bound = want[place] < keys.live_count ? SearchResult::Bound::kLast : SearchResult::Bound::kComplete;
      (*certified)[place] = 1;
      if (round->attempt > 1) ++widened_rows_;
      continue;
    }
    const bool too_many = outcome.decision == Decision::kTooMany;
    if (round->attempt == 1) ++(too_many ? stats_.too_many : stats_.too_high);
    // Too many keys within the bound, or a guess that was not the reason.
    const bool hopeless = too_many ? outcome.threshold <= outcome.used
                                   : std::isnan(outcome.threshold) && outcome.used == kEverything;
    if (round->attempt == kAttempts || args.want == 0 || hopeless) {
      ++stats_.given_up;
      continue;
    }
    args.rank = std::isnan(outcome.threshold) && args.rank > 0 ? 4 * args.rank + 16 : 0;
    if (args.rank > args.groups) args.rank = 0;
    args.threshold = std::isnan(outcome.threshold) ? kEverything : outcome.threshold;
    again.places.push_back(place);
    again.args.push_back(args);
  }
  if (again.places.empty()) return absl::OkStatus();
  again.PlanPasses(stride_, device_->shared_bytes());
  return RunRound(keys, rows, want, &again, results, certified);
}

absl::Status FusedSearch::ReserveScratch(const SearchRound& round) {
  EVOKE_RETURN_IF_ERROR(pinned_.Reserve(round.input_bytes(stride_) + round.output_bytes()));
  EVOKE_RETURN_IF_ERROR(inputs_.Reserve(round.input_bytes(stride_)));
  EVOKE_RETURN_IF_ERROR(lists_.Reserve(round.list_bytes()));
  // Later attempts read the maxima of the first.
  return maxima_.Reserve(round.maxima * sizeof(float));
}

void FusedSearch::PackRows(const float* rows, const SearchRound& round) {
  auto* const high = pinned_.as<uint16_t>();
  auto* const whole = pinned_.as<float>(SearchRound::float_rows(round.padded(), stride_));
  std::vector<int16_t> low(dim_);
  for (uint32_t r = 0; r < round.padded(); ++r) {
    const size_t at = size_t{r} * stride_;
    uint32_t filled = 0;
    if (r < round.count()) {
      const float* const row = rows + size_t{round.places[r]} * dim_;
      Split(row, static_cast<int>(dim_), high + at, low.data());
      std::copy_n(row, dim_, whole + at);
      filled = dim_;
    }
    std::fill(high + at + filled, high + at + stride_, uint16_t{0});
    std::fill(whole + at + filled, whole + at + stride_, 0.0f);
  }
}

absl::Status FusedSearch::Sample(const SearchRound& round) {
  for (const SearchRound::Pass& pass : round.passes) {
    ScanArgs args;
    args.keys = keys_.planes().high;
    args.rows = inputs_.as<uint16_t>() + size_t{pass.first} * stride_;
    args.stride = stride_;
    args.tiles = round.samples;
    args.tile_step = round.tile_step;
    args.row_count = pass.count;
    args.groups = round.args[pass.first].groups;
    args.maxima = maxima_.as<float>() + round.args[pass.first].maxima;
    EVOKE_RETURN_IF_ERROR(device_->Scan(pass.shape, args));
  }
  return absl::OkStatus();
}

void FusedSearch::SetMargins(const float* rows, SearchRound* round) {
  const KeyRounding& of_keys = keys_.rounding();
  const auto* const high = pinned_.as<uint16_t>();
  for (uint32_t r = 0; r < round->count(); ++r) {
    const RowRounding of_row =
        RoundingOf(rows + size_t{round->places[r]} * dim_, high + size_t{r} * stride_, dim_);
    RowArgs& args = round->args[r];
    args.margin = AtLeast(2 * TensorCoreErrorBound(static_cast<int>(dim_), of_row.norm, of_row.lost, of_keys.norm(),
                                                   of_keys.lost(Rounding::kBfloat16)));
    if (!std::isfinite(args.margin)) args.want = 0;  // the row is for the caller
  }
  std::memcpy(pinned_.as<char>(SearchRound::row_args(round->padded(), stride_)), round->args.data(),
              round->args.size() * sizeof(RowArgs));
}

absl::Status FusedSearch::ScanAndDecide(const SearchRound& round) {
  const size_t at = SearchRound::row_args(round.padded(), stride_);
  EVOKE_RETURN_IF_ERROR(
      device_->ToDevice(inputs_.as<char>(at), pinned_.as<char>(at), round.args.size() * sizeof(RowArgs)));
  auto* const thresholds = lists_.as<float>(round.thresholds());
  auto* const counts = lists_.as<uint32_t>(round.counts());
  const auto* const row_args = inputs_.as<RowArgs>(at);
  EVOKE_RETURN_IF_ERROR(device_->Begin(
      round.padded(),
      {.rows = row_args, .maxima = maxima_.as<float>(), .thresholds = thresholds, .counts = counts}));
  for (const SearchRound::Pass& pass : round.passes) {
    ScanArgs args;
    args.keys = keys_.planes().high;
    args.rows = inputs_.as<uint16_t>() + size_t{pass.first} * stride_;
    args.stride = stride_;
    args.tiles = keys_.positions() / kTileKeys;
    args.row_count = pass.count;
    args.thresholds = thresholds + pass.first;
    args.counts = counts + pass.first;
    args.found = lists_.as<Found>() + size_t{pass.first} * round.capacity;
    args.capacity = round.capacity;
    EVOKE_RETURN_IF_ERROR(device_->Scan(pass.shape, args));
  }
  const size_t outputs = round.input_bytes(stride_);
  return device_->Decide(round.count(), {.keys = keys_.planes(),
                                         .rows = row_args,
                                         .embeddings = inputs_.as<float>(SearchRound::float_rows(round.padded(), stride_)),
                                         .thresholds = thresholds,
                                         .counts = counts,
                                         .found = lists_.as<Found>(),
                                         .capacity = round.capacity,
                                         .outcomes = pinned_.as<Outcome>(outputs),
                                         .results = pinned_.as<Answer>(outputs + round.results())});
}

}  // namespace evoke::gpu
