// An index on a device against the CPU's, bit for bit: it must answer alike whatever happened before, and by itself.
#include "tests/gpu/device_index_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

#include "server/base/thread_pool.h"
#include "server/index/index_factory.h"
#include "tests/testing/index_oracle.h"

namespace evoke {
namespace {

// An index on a device, and beside it the CPU's, over the same keys.
class Pair {
 public:
  Pair(const DeviceCase& device, ThreadPool* pool, uint32_t capacity, uint32_t dim) : keys_(capacity, dim) {
    IndexOptions options{.dim = dim, .capacity = capacity, .make_device = device.devices};
    options.parallel = [pool](size_t count, const std::function<void(size_t)>& body) {
      ParallelFor(pool, 2, count, body);
    };
    device_ = *CreateIndex(device.index, options);
    flat_ = *CreateIndex("flat", options);
    Rebuild();
  }

  Keys* keys() { return &keys_; }
  Index* device() { return device_.get(); }

  void Upsert(const std::vector<uint32_t>& positions) {
    device_->Upsert(keys_.View(), positions);
    flat_->Upsert(keys_.View(), positions);
  }
  void Erase(const std::vector<uint32_t>& positions) {
    device_->Erase(positions);
    flat_->Erase(positions);
  }
  void Rebuild() {
    device_->Rebuild(keys_.View());
    flat_->Rebuild(keys_.View());
  }

  // The same answers, and that the device is there and gave some of them, if `by_device`.
  void ExpectAlike(const std::vector<std::vector<float>>& rows, const std::vector<uint32_t>& want, bool by_device = true) {
    std::vector<float> packed;
    for (const auto& row : rows) packed.insert(packed.end(), row.begin(), row.end());
    const uint64_t before = device_->stats().uncertified_rows;
    const std::vector<SearchResult> results = device_->Search(keys_.View(), packed.data(), want);
    const std::vector<SearchResult> expected = flat_->Search(keys_.View(), packed.data(), want);
    ASSERT_EQ(std::string(device_->degraded()), "");
    ASSERT_EQ(results.size(), rows.size());
    for (size_t r = 0; r < rows.size(); ++r) ASSERT_NO_FATAL_FAILURE(ExpectSame(results[r], expected[r], r));
    if (by_device) {
      EXPECT_LT(device_->stats().uncertified_rows - before, rows.size());
    }
  }

 private:
  Keys keys_;
  std::unique_ptr<Index> device_;
  std::unique_ptr<Index> flat_;
};

class DeviceIndexTest : public ::testing::TestWithParam<DeviceCase> {
 protected:
  void SetUp() override {
    if (const std::string reason = SkipReason(); !reason.empty()) GTEST_SKIP() << reason;
    // A name that a build does not have is no failure of what is asked here.
    const auto made = CreateIndex(GetParam().index, {.dim = 4, .capacity = 4, .make_device = GetParam().devices});
    if (absl::IsUnimplemented(made.status())) GTEST_SKIP() << GetParam().index << " is not in this build";
  }
  Pair Make(uint32_t capacity, uint32_t dim) { return Pair(GetParam(), &pool_, capacity, dim); }
  bool slow() const { return GetParam().slow; }

  std::vector<std::vector<float>> RandomRows(size_t count, uint32_t dim) {
    std::vector<std::vector<float>> rows;
    for (size_t r = 0; r < count; ++r) rows.push_back(Unit(random_, dim));
    return rows;
  }
  // Sets keys first .. first + count - 1 and tells both, as one turn.
  void Fill(Pair* pair, uint32_t first, uint32_t count, uint32_t dim) {
    std::vector<uint32_t> positions;
    for (uint32_t p = first; p < first + count; ++p) {
      pair->keys()->Set(p, Unit(random_, dim));
      positions.push_back(p);
    }
    pair->Upsert(positions);
  }

  std::mt19937_64 random_ = SeededGenerator();
  ThreadPool pool_{"test", 2};
};

TEST_P(DeviceIndexTest, AnswersAlikeOverALongLogOfUpdates) {
  constexpr uint32_t kDim = 100;
  constexpr uint32_t kCapacity = 1777;
  Pair pair = Make(kCapacity, kDim);
  std::vector<uint32_t> live;
  for (int turn = 0; turn < (slow() ? 80 : 600); ++turn) {
    std::vector<uint32_t> freed;
    std::vector<uint32_t> written;
    for (size_t n = random_() % 20; n > 0 && live.size() > 1; --n) {
      const size_t i = random_() % live.size();
      freed.push_back(live[i]);
      pair.keys()->Unset(live[i]);
      live[i] = live.back();
      live.pop_back();
    }
    for (size_t n = random_() % 60; n > 0; --n) {
      const auto position = static_cast<uint32_t>(random_() % kCapacity);
      if (std::find(written.begin(), written.end(), position) != written.end()) continue;
      if (!pair.keys()->View().IsLive(position)) live.push_back(position);
      pair.keys()->Set(position, Unit(random_, kDim));
      written.push_back(position);
    }
    pair.Erase(freed);
    pair.Upsert(written);
    std::vector<uint32_t> want;
    for (size_t r = 1 + random_() % 7; r > 0; --r) want.push_back(1 + static_cast<uint32_t>(random_() % (turn % 9 == 0 ? 1024 : 40)));
    ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(RandomRows(want.size(), kDim), want, /*by_device=*/false)) << "turn " << turn;
  }
  std::vector<uint32_t> all(pair.keys()->View().rows);
  for (uint32_t p = 0; p < all.size(); ++p) all[p] = p;
  EXPECT_THAT(pair.device()->Verify(pair.keys()->View(), all), ::testing::IsEmpty());
}

TEST_P(DeviceIndexTest, AnswersAlikeForSizesThatAreMultiplesOfNothing) {
  for (const uint32_t dim : {1u, 2u, 3u, 17u, 33u, 100u, 129u, 1001u}) {
    for (const uint32_t count : {1u, 2u, 65u, 1021u, 5003u}) {
      if (slow() && dim > 500 && count > 2000) continue;
      Pair pair = Make(count + 3, dim);
      Fill(&pair, 0, count, dim);
      const std::vector<uint32_t> want = {1, 2, 7, std::max(1u, count / 3), count, count + 9};
      ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(RandomRows(want.size(), dim), want, count > 1000 && dim > 2))
          << count << " keys of " << dim;
    }
  }
}

TEST_P(DeviceIndexTest, AnswersAlikeForBatchesOfEverySizeAndKUpTo1024) {
  constexpr uint32_t kDim = 24;
  const uint32_t count = slow() ? 1501 : 30'011;
  // The twin of the fused scan takes milliseconds a row, whatever the keys.
  const bool slow_rows = slow() && GetParam().index == "gpu";
  Pair pair = Make(count, kDim);
  Fill(&pair, 0, count, kDim);
  for (const size_t batch : {size_t{1}, size_t{2}, size_t{63}, size_t{64}, size_t{65}, size_t{511}, size_t{4096}}) {
    if (slow() && batch > 70) continue;
    for (const uint32_t k : {1u, 31u, 256u, 1000u, 1024u}) {
      if (batch > 1000 && k > 256) continue;
      if (slow_rows && (k == 31 || k == 1000)) continue;
      std::vector<uint32_t> want(batch, k);
      want[batch / 2] = 3;  // not all alike
      ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(RandomRows(batch, kDim), want)) << batch << " rows, k " << k;
    }
  }
  const size_t most = slow_rows ? 1030 : 4096;  // two rounds of the fused scan
  ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(RandomRows(most, kDim), std::vector<uint32_t>(most, 2)));
}

// Keys closer to each other than the rounding of any format tells, equal keys, and clusters between them.
TEST_P(DeviceIndexTest, AnswersAlikeAmongNearTiesDuplicatesAndTightClusters) {
  constexpr uint32_t kDim = 64;
  constexpr uint32_t kCount = 3001;
  Pair pair = Make(kCount, kDim);
  const std::vector<float> center = Unit(random_, kDim);
  std::vector<uint32_t> all;
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key = center;
    switch (p % 5) {
      case 0: key = Unit(random_, kDim); break;
      case 1: break;
      case 2: key[random_() % kDim] += std::ldexp(1.0f, -21); break;
      case 3: key[random_() % kDim] += std::ldexp(1.0f, -13); break;
      case 4: key[random_() % kDim] += 0.01f; break;
    }
    Normalise(key.data(), kDim, key.data());
    pair.keys()->Set(p, key);
    all.push_back(p);
  }
  pair.Upsert(all);
  std::vector<std::vector<float>> rows = RandomRows(9, kDim);
  rows.push_back(center);
  for (int r = 0; r < 6; ++r) rows.push_back(pair.keys()->Get(static_cast<uint32_t>(random_() % kCount)));
  for (const uint32_t k : {1u, 10u, 256u, 700u}) {
    ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(rows, std::vector<uint32_t>(rows.size(), k), /*by_device=*/false)) << k;
  }
  // What has a list for so many proves them all.
  if (GetParam().index != "gpu") {
    EXPECT_GT(pair.device()->stats().uncertified_rows, 0u);
  }
}

// A free position scores 0, more than every key that points away from the row.
TEST_P(DeviceIndexTest, FreePositionsAreNoAnswerWhereAllKeysPointAway) {
  constexpr uint32_t kDim = 16;
  constexpr uint32_t kCount = 900;
  Pair pair = Make(4096, kDim);
  const std::vector<float> row = Unit(random_, kDim);
  std::vector<uint32_t> written;
  for (uint32_t p = 0; p < 3 * kCount; p += 3) {
    std::vector<float> key = Unit(random_, kDim);
    for (uint32_t e = 0; e < kDim; ++e) key[e] = -row[e] + 0.1f * key[e];
    Normalise(key.data(), kDim, key.data());
    pair.keys()->Set(p, key);
    written.push_back(p);
  }
  pair.Upsert(written);
  pair.ExpectAlike({row, row}, {1, 500}, /*by_device=*/false);
  Fill(&pair, 1, 1, kDim);
  pair.keys()->Unset(1);
  pair.Erase({1});
  pair.ExpectAlike({row}, {20}, /*by_device=*/false);
}

TEST_P(DeviceIndexTest, GrowsWithWhatIsThereKept) {
  constexpr uint32_t kDim = 40;
  const uint32_t capacity = slow() ? 20'000 : 200'000;
  Pair pair = Make(capacity, kDim);
  uint64_t bytes = 0;
  int grew = 0;
  for (uint32_t end = 0; end < capacity;) {
    const uint32_t count = std::min(capacity - end, 1 + end / 2 + 999);
    Fill(&pair, end, count, kDim);
    end += count;
    ASSERT_NO_FATAL_FAILURE(pair.ExpectAlike(RandomRows(3, kDim), {1, 50, 256})) << end;
    EXPECT_GE(pair.device()->device().bytes, end * kDim * 2u);
    grew += pair.device()->device().bytes > bytes ? 1 : 0;
    bytes = pair.device()->device().bytes;
  }
  EXPECT_GT(grew, 1);
  std::vector<uint32_t> some;
  for (uint32_t p = 0; p < capacity; p += 97) some.push_back(p);
  EXPECT_THAT(pair.device()->Verify(pair.keys()->View(), some), ::testing::IsEmpty());
}

TEST_P(DeviceIndexTest, ARebuildForgetsWhatWasAndTakesWhatIs) {
  constexpr uint32_t kDim = 32;
  Pair pair = Make(6000, kDim);
  Fill(&pair, 0, 6000, kDim);
  pair.ExpectAlike(RandomRows(4, kDim), {1, 5, 50, 500});
  for (uint32_t p = 0; p < 6000; ++p) {
    if (p % 7 == 0) {
      pair.keys()->Set(p, Unit(random_, kDim));
    } else {
      pair.keys()->Unset(p);
    }
  }
  pair.Rebuild();
  pair.ExpectAlike(RandomRows(4, kDim), {1, 5, 50, 500}, /*by_device=*/false);
  for (uint32_t p = 0; p < 6000; ++p) pair.keys()->Unset(p);
  pair.Rebuild();
  pair.ExpectAlike(RandomRows(2, kDim), {1, 5}, /*by_device=*/false);
  Fill(&pair, 0, 2000, kDim);
  pair.ExpectAlike(RandomRows(2, kDim), {1, 5});
}

TEST_P(DeviceIndexTest, VerifyNamesEveryCopyThatDiffersAndWritingItAgainMendsIt) {
  constexpr uint32_t kDim = 33;  // float16 rows of an odd number of bytes times two
  Pair pair = Make(3000, kDim);
  Fill(&pair, 0, 2500, kDim);
  std::vector<uint32_t> all(3000);
  for (uint32_t p = 0; p < 3000; ++p) all[p] = p;
  EXPECT_THAT(pair.device()->Verify(pair.keys()->View(), all), ::testing::IsEmpty());
  pair.keys()->Set(7, Unit(random_, kDim));  // and the index is not told
  pair.keys()->Set(2400, Unit(random_, kDim));
  pair.keys()->Set(2700, Unit(random_, kDim));
  pair.keys()->Unset(11);
  EXPECT_THAT(pair.device()->Verify(pair.keys()->View(), all), ::testing::ElementsAre(7, 11, 2400, 2700));
  pair.Upsert({7, 2400, 2700});
  pair.Erase({11});
  EXPECT_THAT(pair.device()->Verify(pair.keys()->View(), all), ::testing::IsEmpty());
  pair.ExpectAlike(RandomRows(3, kDim), {1, 5, 50});
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceIndexTest, ::testing::ValuesIn(DeviceCases()),
                         [](const auto& info) { return info.param.index; });

}  // namespace
}  // namespace evoke
