// The plainest answer that an exact index is compared with, and keys to ask it about.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "server/index/index.h"
#include "server/index/top_candidates.h"
#include "server/similarity/similarity.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {

// A key matrix as a shard has one, with a stride that is not the dimension. Positions that were never set hold numbers.
class Keys {
 public:
  Keys(uint32_t capacity, uint32_t dim)
      : dim_(dim),
        stride_(dim + 3),
        high_(size_t{capacity} * stride_ + 64, 0x40e0),  // 7
        low_(size_t{capacity} * stride_ + 64) {
    live_.resize((capacity + 63) / 64);
  }
  void Set(uint32_t position, const std::vector<float>& key) {
    Split(key.data(), static_cast<int>(dim_), &high_[position * stride_], &low_[position * stride_]);
    live_[position >> 6] |= uint64_t{1} << (position & 63);
    rows_ = std::max(rows_, position + 1);
  }
  void Unset(uint32_t position) { live_[position >> 6] &= ~(uint64_t{1} << (position & 63)); }
  std::vector<float> Get(uint32_t position) const {
    std::vector<float> key(dim_);
    Join(View().row(position), static_cast<int>(dim_), key.data());
    return key;
  }
  KeyMatrixView View() const {
    uint64_t count = 0;
    for (const uint64_t word : live_) count += static_cast<uint64_t>(__builtin_popcountll(word));
    return {{high_.data(), low_.data(), stride_}, dim_, rows_, live_.data(), count};
  }

 private:
  uint32_t dim_;
  size_t stride_;
  uint32_t rows_ = 0;
  std::vector<uint16_t> high_;
  std::vector<int16_t> low_;
  std::vector<uint64_t> live_;
};

inline SearchResult Naive(const KeyMatrixView& keys, const float* row, uint32_t want) {
  SearchResult result;
  std::vector<float> key(keys.dim);
  for (uint32_t p = 0; p < keys.rows; ++p) {
    if (!keys.IsLive(p)) continue;
    Join(keys.row(p), static_cast<int>(keys.dim), key.data());
    result.candidates.push_back({p, Similarity(row, key.data(), static_cast<int>(keys.dim))});
  }
  std::sort(result.candidates.begin(), result.candidates.end(),
            [](const Candidate& a, const Candidate& b) { return Before(a, b); });
  if (result.candidates.size() > want) {
    result.candidates.resize(want);
    result.bound = SearchResult::Bound::kLast;
  }
  return result;
}

inline std::vector<float> Unit(std::mt19937_64& random, uint32_t dim) {
  std::vector<float> x = RandomVector(random, Kind::kNormal, dim);
  Normalise(x.data(), static_cast<int>(dim), x.data());
  return x;
}

// Bit for bit the same: bound, positions and similarities.
inline void ExpectSame(const SearchResult& result, const SearchResult& expected, size_t row) {
  ASSERT_EQ(result.bound, expected.bound) << "row " << row;
  ASSERT_EQ(result.candidates.size(), expected.candidates.size()) << "row " << row;
  for (size_t i = 0; i < expected.candidates.size(); ++i) {
    const Candidate& a = result.candidates[i];
    const Candidate& b = expected.candidates[i];
    ASSERT_TRUE(a.position == b.position && std::memcmp(&a.similarity, &b.similarity, sizeof(float)) == 0)
        << "row " << row << ", place " << i << " of " << expected.candidates.size() << ": " << a.position << " "
        << a.similarity << ", expected " << b.position << " " << b.similarity;
  }
}

// ... what Naive says, for every row.
inline void ExpectExact(Index* index, const Keys& keys, const std::vector<std::vector<float>>& rows,
                        const std::vector<uint32_t>& want) {
  const KeyMatrixView view = keys.View();
  std::vector<float> packed;
  for (const auto& row : rows) packed.insert(packed.end(), row.begin(), row.end());
  const std::vector<SearchResult> results = index->Search(view, packed.data(), want);
  ASSERT_EQ(results.size(), rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    ASSERT_NO_FATAL_FAILURE(ExpectSame(results[r], Naive(view, rows[r].data(), want[r]), r));
  }
}

}  // namespace evoke
