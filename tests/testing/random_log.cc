#include "tests/testing/random_log.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace evoke::testing {
namespace {

constexpr size_t kRememberedEmbeddings = 1024;

// 2^exponent, exact. Requires: -126 <= exponent <= 127.
float PowerOfTwo(int exponent) {
  return std::ldexp(1.0f, exponent);
}

void Shuffle(std::vector<float>& x, RandomBits& bits) {
  for (size_t i = x.size(); i > 1; --i) std::swap(x[i - 1], x[bits.Below(i)]);
}

}  // namespace

uint64_t RandomBits::Next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

RandomLog::RandomLog(const RandomLogOptions& options) : options_(options), bits_(options.seed) {
  for (int i = 0; i < options_.center_count; ++i) {
    Embedding center = Fresh();
    // Below 4 in magnitude, so that a move of 2^-20 is exact.
    for (float& c : center.x) {
      c = static_cast<float>(bits_.Between(1, 3));
      if (bits_.Percent(50)) c = -c;
    }
    centers_.push_back(std::move(center));
  }
  for (int e = 0; e < options_.key_dim; ++e) pattern_.push_back(static_cast<float>(bits_.Between(1, 5)));
}

LogEntry RandomLog::Next() {
  if (bits_.Percent(options_.clear_percent)) return {.clear = true, .rows = {}};
  const uint64_t rows = bits_.Percent(options_.large_percent)
                            ? options_.capacity + 1 + bits_.Below(options_.capacity)
                            : 1 + bits_.Below(options_.max_rows);
  LogEntry entry;
  for (uint64_t j = 0; j < rows; ++j) entry.rows.push_back(NextRow());
  return entry;
}

ModelRow RandomLog::NextRow() {
  Embedding embedding = NextEmbedding();
  ModelRow row{.x = std::move(embedding.x), .value = embedding.value};
  row.write = !bits_.Percent(options_.no_write_percent);
  row.skip = bits_.Percent(options_.skip_percent);
  if (bits_.Percent(options_.payload_percent)) {
    row.payload = "row " + std::to_string(rows_made_) + '\0' + std::string(bits_.Below(20), '.');
  }
  ++rows_made_;
  if (row.skip && bits_.Percent(50)) {
    row.x.assign(options_.key_dim, bits_.Percent(50) ? 0.0f : std::numeric_limits<float>::quiet_NaN());
  }
  return row;
}

RandomLog::Embedding RandomLog::NextEmbedding() {
  const RandomLogOptions& o = options_;
  const std::array<int, 6> weights = {o.fresh, o.duplicate, o.near_center, o.tie, o.antipodal, o.scaled};
  int64_t total = 0;
  for (int weight : weights) total += weight;
  int64_t drawn = bits_.Between(0, std::max<int64_t>(total, 1) - 1);
  size_t kind = 0;
  while (kind + 1 < weights.size() && drawn >= weights[kind]) drawn -= weights[kind++];

  Embedding made;
  switch (kind) {
    case 1:
      made = Earlier();
      break;
    case 2:
      made = NearCenter();
      break;
    case 3:
      made = Tie();
      break;
    case 4:
      made = Earlier();
      for (float& c : made.x) c = -c;
      break;
    case 5: {
      made = Earlier();
      const float factor = PowerOfTwo(static_cast<int>(bits_.Between(-24, 24)));
      for (float& c : made.x) c *= factor;
      break;
    }
    default:
      made = Fresh();
      break;
  }
  const bool derived = kind != 0 && kind != 3;
  if (derived && !bits_.Percent(o.same_value_percent)) made.value = RandomValue();
  // A rescaled embedding is not remembered: factors must not multiply up.
  if (kind != 5) Remember(made);
  return made;
}

RandomLog::Embedding RandomLog::Fresh() {
  Embedding made{.x = {}, .value = RandomValue()};
  for (int e = 0; e < options_.key_dim; ++e) made.x.push_back(static_cast<float>(bits_.Between(-8, 8)));
  if (std::count(made.x.begin(), made.x.end(), 0.0f) == options_.key_dim) made.x[0] = 1;
  return made;
}

RandomLog::Embedding RandomLog::NearCenter() {
  if (centers_.empty()) return Fresh();
  Embedding made = centers_[bits_.Below(centers_.size())];
  const float ulp = PowerOfTwo(static_cast<int>(bits_.Between(-20, -6)));
  for (int64_t moves = bits_.Between(1, 3); moves > 0; --moves) {
    made.x[bits_.Below(made.x.size())] += static_cast<float>(bits_.Between(-8, 8)) * ulp;
  }
  return made;
}

RandomLog::Embedding RandomLog::Tie() {
  Embedding made{.x = std::vector<float>(options_.key_dim, 0.0f), .value = RandomValue()};
  if (bits_.Percent(50)) {
    // 4^r components of +-1: the norm is 2^r exactly, so every inner product of two such rows is exact, a
    // multiple of 2^-2r, and is shared by many. r = 0 is an axis: any row sees the same similarity to equal
    // components.
    int64_t most = 0;
    while ((int64_t{4} << (2 * most)) <= options_.key_dim) ++most;
    const int64_t ones = int64_t{1} << (2 * bits_.Between(0, most));
    for (int64_t e = 0; e < ones; ++e) made.x[e] = bits_.Percent(50) ? 1.0f : -1.0f;
    Shuffle(made.x, bits_);
    return made;
  }
  // Signs leave the norm alone to the bit; a permutation may round it otherwise: a tie, or nearly.
  made.x = pattern_;
  if (bits_.Percent(25)) Shuffle(made.x, bits_);
  for (float& c : made.x) c = bits_.Percent(50) ? c : -c;
  return made;
}

const RandomLog::Embedding& RandomLog::Earlier() {
  if (earlier_.empty()) earlier_.push_back(Fresh());
  return earlier_[bits_.Below(earlier_.size())];
}

void RandomLog::Remember(const Embedding& embedding) {
  if (earlier_.size() < kRememberedEmbeddings) {
    earlier_.push_back(embedding);
  } else {
    earlier_[bits_.Below(earlier_.size())] = embedding;
  }
}

int64_t RandomLog::RandomValue() {
  const uint64_t i = bits_.Below(options_.value_count);
  switch (i) {
    case 0:
      return 0;
    case 1:
      return -1;
    case 2:
      return std::numeric_limits<int64_t>::min();
    case 3:
      return std::numeric_limits<int64_t>::max();
    default:
      return static_cast<int64_t>(i) * 1'000'000'007;
  }
}

std::vector<LogEntry> MakeRandomLog(const RandomLogOptions& options, int entries) {
  RandomLog log(options);
  std::vector<LogEntry> made;
  for (int i = 0; i < entries; ++i) made.push_back(log.Next());
  return made;
}

}  // namespace evoke::testing
