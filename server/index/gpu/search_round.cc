#include "server/index/gpu/search_round.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace evoke::gpu {
namespace {

// A list holds, of random unit keys, what reaches a threshold guessed from the sample, several times over.
constexpr uint32_t kListSlack = 1024;
constexpr uint32_t kListFactor = 4;
// One tile of 16 is sampled, but neither hardly any nor so many that they cost more than they save.
constexpr uint32_t kSampleOneOf = 16;
constexpr uint32_t kLeastSamples = 8;
constexpr uint32_t kMostSamples = 4096;

// The rank among `groups` maxima, each of `group_keys` keys, that about `want` keys of all and some more reach; keys that
// share a group count once. The slack is four standard deviations, since one row that must go again costs its whole batch a
// second chain: expecting 16, there are 35 or more in one sample of 30,000.
uint32_t GuessRank(uint32_t want, uint32_t positions, uint32_t groups, uint32_t group_keys) {
  const double share = static_cast<double>(want) / positions;
  const double expected = groups * (1 - std::pow(1 - share, group_keys));
  const double rank = std::ceil(expected + 4 * std::sqrt(expected) + 3);
  return rank <= groups ? static_cast<uint32_t>(rank) : 0;
}

// The largest shape that the rows fill more than half of, while its rows fit into shared memory.
ScanShape ShapeFor(uint32_t rows, uint32_t stride, size_t shared_bytes) {
  const auto fits = [&](ScanShape shape) {
    return WithShape(shape, [&](auto s) { return s.SharedBytes(stride); }) <= shared_bytes;
  };
  if (rows > 128 && fits(ScanShape::k256)) return ScanShape::k256;
  if (rows > 64 && fits(ScanShape::k128)) return ScanShape::k128;
  if (rows <= 16 && fits(ScanShape::k16)) return ScanShape::k16;
  return fits(ScanShape::k64) ? ScanShape::k64 : ScanShape::k64Streamed;
}

}  // namespace

void SearchRound::PlanPasses(uint32_t stride, size_t shared_bytes) {
  uint32_t padded = 0;
  for (uint32_t row = 0; row < count();) {
    const ScanShape shape = ShapeFor(count() - row, stride, shared_bytes);
    const uint32_t rows = WithShape(shape, [](auto s) { return s.kRows; });
    const uint32_t taken = std::min(rows, count() - row);
    passes.push_back({.shape = shape, .first = row, .count = taken});
    padded = row + rows;
    row += taken;
  }
  uint32_t most = 0;
  for (RowArgs& row : args) {
    most = std::max(most, row.want);
    row.result = answers;
    answers += row.want;
  }
  capacity = std::bit_ceil(kListFactor * most + kListSlack);
  args.resize(padded);  // the others want nothing
}

void SearchRound::PlanSample(uint32_t positions) {
  const uint32_t tiles = positions / kTileKeys;
  samples = std::min(std::clamp((tiles + kSampleOneOf - 1) / kSampleOneOf, kLeastSamples, kMostSamples), tiles);
  tile_step = tiles / samples;
  for (const Pass& pass : passes) {
    const auto [groups, group_keys] = WithShape(
        pass.shape, [&](auto shape) { return std::pair(samples * shape.kGroupsATile, shape.kGroupKeys); });
    for (uint32_t r = pass.first; r < pass.first + pass.count; ++r) {
      args[r].maxima = maxima;
      args[r].groups = groups;
      args[r].rank = GuessRank(args[r].want, positions, groups, group_keys);
      maxima += groups;
    }
  }
}

}  // namespace evoke::gpu
