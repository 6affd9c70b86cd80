// The fused scan of a device, on its twin: the kernels' own source, thread by thread (tests/testing/gpu_twin.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/index/device_plan.h"
#include "server/index/gpu/fused_search.h"
#include "tests/testing/gpu_twin.h"
#include "tests/testing/index_oracle.h"

namespace evoke {
namespace {

using gpu::FusedSearch;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint32_t> Positions(uint32_t first, uint32_t end) {
  std::vector<uint32_t> positions;
  for (uint32_t p = first; p < end; ++p) positions.push_back(p);
  return positions;
}

class FusedSearchTest : public ::testing::Test {
 protected:
  void Make(uint32_t dim, uint32_t capacity, testing::GpuTwinOptions options = {}) {
    options.seed = random_();
    keys_ = std::make_unique<Keys>(capacity, dim);
    search_ = std::make_unique<FusedSearch>(testing::CreateGpuTwin(options),
                                            FusedSearch::Options{.dim = dim, .capacity = capacity});
    dim_ = dim;
  }
  void WriteAll() {
    const KeyMatrixView view = keys_->View();
    ASSERT_TRUE(search_->Write(view, Positions(0, view.rows)).ok());
  }
  void SetRandomKeys(uint32_t count) {
    for (uint32_t p = 0; p < count; ++p) keys_->Set(p, Unit(random_, dim_));
  }
  std::vector<std::vector<float>> RandomRows(size_t count) {
    std::vector<std::vector<float>> rows;
    for (size_t r = 0; r < count; ++r) rows.push_back(Unit(random_, dim_));
    return rows;
  }
  std::vector<float> Near(const std::vector<float>& center, float noise) {
    std::vector<float> key = Unit(random_, dim_);
    for (uint32_t e = 0; e < dim_; ++e) key[e] = center[e] + noise * key[e];
    Normalise(key.data(), static_cast<int>(dim_), key.data());
    return key;
  }

  // Which rows were certified; those are what Naive says.
  std::vector<uint8_t> Search(const std::vector<std::vector<float>>& rows, const std::vector<uint32_t>& want) {
    const KeyMatrixView view = keys_->View();
    std::vector<float> packed;
    for (const auto& row : rows) packed.insert(packed.end(), row.begin(), row.end());
    std::vector<SearchResult> results;
    std::vector<uint8_t> certified;
    const absl::Status status = search_->Search(view, packed.data(), want, &results, &certified);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(results.size(), rows.size());
    EXPECT_EQ(certified.size(), rows.size());
    for (size_t r = 0; status.ok() && r < rows.size(); ++r) {
      if (certified[r] != 0) ExpectSame(results[r], Naive(view, rows[r].data(), want[r]), r);
    }
    return certified;
  }
  void ExpectAllCertified(const std::vector<std::vector<float>>& rows, const std::vector<uint32_t>& want) {
    EXPECT_THAT(Search(rows, want), ::testing::Each(1));
  }
  void ExpectAllCertified(const std::vector<std::vector<float>>& rows, uint32_t want) {
    ExpectAllCertified(rows, std::vector<uint32_t>(rows.size(), want));
  }

  std::mt19937_64 random_ = SeededGenerator();
  uint32_t dim_ = 0;
  std::unique_ptr<Keys> keys_;
  std::unique_ptr<FusedSearch> search_;
};

TEST_F(FusedSearchTest, EveryShapeAnswersAsTheCpuDoes) {
  struct Case {
    uint32_t dim, count, rows, want;
  };
  for (const Case c : {Case{1, 1, 1, 3}, Case{1, 300, 2, 7}, Case{15, 127, 16, 5}, Case{16, 128, 17, 128},
                       Case{17, 129, 3, 200}, Case{64, 1000, 64, 40}, Case{65, 400, 65, 10}, Case{100, 1201, 1, 1000},
                       Case{128, 2100, 129, 20}, Case{32, 300, 257, 3}, Case{200, 300, 20, 64},
                       Case{1100, 140, 18, 9}, Case{4096, 70, 2, 50}}) {
    SCOPED_TRACE(::testing::Message() << c.dim << " x " << c.count << ", " << c.rows << " rows");
    Make(c.dim, c.count);
    SetRandomKeys(c.count);
    WriteAll();
    ASSERT_NO_FATAL_FAILURE(ExpectAllCertified(RandomRows(c.rows), c.want));
    EXPECT_EQ(search_->stats().given_up, 0u);
  }
}

// Every shape of the scan, whatever the rows would choose: less shared memory leaves the smaller ones and the streamed one.
TEST_F(FusedSearchTest, ADeviceWithLessSharedMemoryAnswersAlike) {
  for (const size_t shared_bytes : {size_t{99} << 10, size_t{163} << 10}) {
    for (const uint32_t dim : {48u, 128u, 512u}) {
      SCOPED_TRACE(::testing::Message() << shared_bytes << " bytes, " << dim);
      Make(dim, 300, {.shared_bytes = shared_bytes});
      SetRandomKeys(300);
      WriteAll();
      ASSERT_NO_FATAL_FAILURE(ExpectAllCertified(RandomRows(dim == 128 ? 129 : 20), 12));
    }
  }
}

TEST_F(FusedSearchTest, ASampleGuessesThresholdsThatHoldForRandomKeys) {
  Make(32, 20'011);
  SetRandomKeys(20'011);
  WriteAll();
  ExpectAllCertified(RandomRows(30), 100);
  ExpectAllCertified(RandomRows(5), 1);
  ExpectAllCertified(RandomRows(20), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 300, 12, 13, 14, 15, 16, 17, 18, 19, 20});
  // One row of thousands is beyond the four standard deviations that a guess allows for.
  EXPECT_LE(search_->stats().too_high + search_->stats().too_many, 2u);
  EXPECT_EQ(search_->stats().given_up, 0u);
}

TEST_F(FusedSearchTest, AThresholdThatASampleGuessedTooHighIsFoundOut) {
  constexpr uint32_t kCount = 32'768;
  Make(24, kCount);
  const std::vector<float> center = Unit(random_, dim_);
  // One tile in 16 is near the center: that which is sampled.
  for (uint32_t p = 0; p < kCount; ++p) {
    keys_->Set(p, p / 128 % 16 == 0 && p < kCount / 4 ? Near(center, 0.05f) : Unit(random_, dim_));
  }
  WriteAll();
  ExpectAllCertified({center, Unit(random_, dim_)}, {1000, 10});
  EXPECT_GT(search_->stats().too_high, 0u);
  EXPECT_EQ(search_->WidenedRows(), search_->stats().too_high);
  EXPECT_EQ(search_->stats().given_up, 0u);
}

// Roundings at the very bound: a guess that enough keys reach, and which still hides keys whose similarities are better.
TEST_F(FusedSearchTest, AGuessBetweenTheScoresAndTheirBoundIsFoundOut) {
  constexpr uint32_t kCount = 32'768;
  constexpr float kHalf = 0x1p-10f;  // half the distance of bfloat16 numbers from 0.25 to 0.5
  constexpr float kStep = 0x1p-9f;
  constexpr float kBase = 0.3125f;
  Make(16, kCount);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key(dim_, kBase + kHalf);  // rounds up
    if (p / 128 % 16 == 0 && p % 128 < 6 && p % 2 == 0) {  // sampled, a group each: the guess
      for (uint32_t e = 0; e < 8; ++e) key[e] += kStep;
    } else if (p % 100 == 1) {  // rounds down, to the best similarities but for those
      for (uint32_t e = 0; e < dim_; ++e) key[e] = kBase + kHalf - 0x1p-20f + (e % 2 == 0 ? kStep : -kStep);
      key[1] += kStep;
    } else if (p % 30 != 0) {  // far away
      for (float& x : key) x = 0.01f;
    }
    keys_->Set(p, key);
  }
  WriteAll();
  const std::vector<float> row(dim_, 0.25f);
  ExpectAllCertified({row, row}, {300, 310});
  EXPECT_EQ(search_->stats().too_high, 2u);
}

TEST_F(FusedSearchTest, AListThatOverflowsGivesAThresholdThatHolds) {
  constexpr uint32_t kCount = 32'768;
  Make(24, kCount);
  const std::vector<float> center = Unit(random_, dim_);
  // What is sampled is far away, so that everything looks good.
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key = Unit(random_, dim_);
    if (p / 128 % 16 == 0) {
      for (uint32_t e = 0; e < dim_; ++e) key[e] = -center[e];
    }
    keys_->Set(p, key);
  }
  WriteAll();
  ExpectAllCertified({center, Near(center, 0.1f)}, {200, 20});
  EXPECT_GT(search_->stats().too_many, 0u);
  EXPECT_EQ(search_->stats().given_up, 0u);
}

TEST_F(FusedSearchTest, MoreKeysWithinTheBoundThanAListHoldsAreLeftToTheCaller) {
  Make(16, 6000);
  SetRandomKeys(6000);
  const std::vector<float> same = Unit(random_, dim_);
  for (uint32_t p = 0; p < 5000; ++p) keys_->Set(p, same);
  WriteAll();
  std::vector<float> opposite = same;
  for (float& x : opposite) x = -x;
  EXPECT_THAT(Search({same, opposite, same}, {10, 10, 2}), ElementsAre(0, 1, 0));
  EXPECT_EQ(search_->stats().given_up, 2u);
}

TEST_F(FusedSearchTest, NearTiesAndEqualKeysComeInTheirOrder) {
  Make(64, 3000);
  const std::vector<float> center = Unit(random_, dim_);
  for (uint32_t p = 0; p < 3000; ++p) {
    std::vector<float> key = p % 3 == 0 ? Unit(random_, dim_) : center;
    if (p % 3 == 1 && p < 1200) {
      key[random_() % dim_] += std::ldexp(1.0f, -20);
      Normalise(key.data(), static_cast<int>(dim_), key.data());
    }
    keys_->Set(p, key);
  }
  WriteAll();
  ExpectAllCertified({center, Near(center, 0.01f), Unit(random_, dim_)}, 500);
}

TEST_F(FusedSearchTest, SubnormalComponentsZerosAndAntipodes) {
  Make(20, 3001);
  const std::vector<float> pole = Unit(random_, dim_);
  for (uint32_t p = 0; p < 3001; ++p) {
    std::vector<float> key(dim_, random_() % 2 == 0 ? 0.0f : -0.0f);
    if (p % 3 == 0) {
      key = pole;
      for (float& x : key) x = -x;
    } else if (p % 3 == 1) {
      key[random_() % 2] = random_() % 2 == 0 ? 1.0f : -1.0f;
    } else {
      key = RandomVector(random_, Kind::kVanishing, dim_);
      for (float& x : key) x *= 0x1p-64f;
      key[0] = 1.0f;
    }
    keys_->Set(p, key);
  }
  WriteAll();
  std::vector<float> e7(dim_);
  e7[7] = 1.0f;
  std::vector<float> e0(dim_);
  e0[0] = -1.0f;
  ExpectAllCertified({pole, e7, e0}, 800);
}

// Products that vanish leave the sign of zero behind, if all sixteen sums do.
TEST_F(FusedSearchTest, TheTwoZerosAreEqualAndKeepTheirSigns) {
  Make(16, 100);
  for (uint32_t p = 0; p < 100; ++p) keys_->Set(p, std::vector<float>(dim_, random_() % 2 == 0 ? 0x1p-80f : -0x1p-80f));
  WriteAll();
  const std::vector<float> row(dim_, 0x1p-80f);
  const SearchResult expected = Naive(keys_->View(), row.data(), 60);
  const auto negative = [](const Candidate& c) { return std::signbit(c.similarity); };
  ASSERT_TRUE(std::any_of(expected.candidates.begin(), expected.candidates.end(), negative));
  ASSERT_FALSE(std::all_of(expected.candidates.begin(), expected.candidates.end(), negative));
  ExpectAllCertified({row}, 60);
}

TEST_F(FusedSearchTest, OnlyWhatTheDeviceHasRoomForIsCertified) {
  Make(8, 4000);
  SetRandomKeys(4000);
  WriteAll();
  const auto rows = RandomRows(3);
  EXPECT_THAT(Search(rows, {1024, 1025, 5}), ElementsAre(1, 0, 1));
  // With few live keys all of them are few.
  for (uint32_t p = 10; p < 4000; ++p) keys_->Unset(p);
  WriteAll();
  EXPECT_THAT(Search(rows, {1024, 1025, 5}), ElementsAre(1, 1, 1));
  for (uint32_t p = 0; p < 10; ++p) keys_->Unset(p);
  WriteAll();
  EXPECT_THAT(Search(rows, {1, 2, 3}), ElementsAre(1, 1, 1));
}

TEST_F(FusedSearchTest, WhatIsNoLongerLiveIsNeverFound) {
  Make(32, 20'000);
  SetRandomKeys(20'000);
  WriteAll();
  const std::vector<float> gone = keys_->Get(777);
  std::vector<uint32_t> erased;
  for (uint32_t p = 0; p < 20'000; ++p) {
    if (p == 777 || random_() % 4 == 0) {
      keys_->Unset(p);
      erased.push_back(p);
    }
  }
  ASSERT_TRUE(search_->Write(keys_->View(), erased).ok());
  ExpectAllCertified({gone, Unit(random_, dim_)}, 30);
  keys_->Set(777, gone);
  ASSERT_TRUE(search_->Write(keys_->View(), {777}).ok());
  ExpectAllCertified({gone, Unit(random_, dim_)}, 30);
}

TEST_F(FusedSearchTest, ManyWritesBetweenSearchesAndGrowthKeepWhatWasThere) {
  Make(40, 5000);
  for (uint32_t end = 50; end <= 5000; end = end * 3 / 2) {
    std::vector<uint32_t> written;
    for (uint32_t p = 0; p < end; ++p) {
      if (keys_->View().rows <= p || random_() % 5 == 0) {
        keys_->Set(p, Unit(random_, dim_));
        written.push_back(p);
      }
    }
    const size_t half = written.size() / 2;
    ASSERT_TRUE(search_->Write(keys_->View(), absl::MakeSpan(written).first(half)).ok());
    ASSERT_TRUE(search_->Write(keys_->View(), absl::MakeSpan(written).subspan(half)).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectAllCertified(RandomRows(4), 33)) << end;
  }
  // Besides the keys: what rows, lists and writes pass through.
  EXPECT_LE(search_->DeviceBytes(), PlannedDeviceBytes("gpu", 40, 5000) + (16u << 20));
  search_->Clear();
  EXPECT_EQ(search_->DeviceBytes(), 0u);
  EXPECT_THAT(Search(RandomRows(1), {5}), ElementsAre(0));
  WriteAll();
  ExpectAllCertified(RandomRows(2), 33);
}

TEST_F(FusedSearchTest, NormsBeyondAnyBoundAreLeftToTheCaller) {
  Make(16, 200);
  SetRandomKeys(200);
  WriteAll();
  auto rows = RandomRows(3);
  rows[1][3] = 1e15f;  // far, but float32 holds its square
  rows[2][0] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Search(rows, {5, 5, 5}), ElementsAre(1, 1, 0));
  std::vector<float> huge(dim_);
  huge[0] = 3.4e38f;  // infinite as bfloat16
  keys_->Set(7, huge);
  ASSERT_TRUE(search_->Write(keys_->View(), {7}).ok());
  EXPECT_THAT(Search({rows[0]}, {5}), ElementsAre(0));
}

TEST_F(FusedSearchTest, VerifyFindsWhatTheDeviceHasOtherwise) {
  Make(24, 700);
  for (uint32_t p = 0; p < 700; p += 2) keys_->Set(p, Unit(random_, dim_));
  WriteAll();
  const std::vector<uint32_t> all = Positions(0, 700);
  std::vector<uint32_t> differ;
  ASSERT_TRUE(search_->Verify(keys_->View(), all, &differ).ok());
  EXPECT_THAT(differ, IsEmpty());
  std::vector<float> key = keys_->Get(500);
  key[5] = std::nextafter(key[5], 2.0f);
  keys_->Set(500, key);
  keys_->Set(301, Unit(random_, dim_));
  keys_->Unset(4);
  ASSERT_TRUE(search_->Verify(keys_->View(), all, &differ).ok());
  EXPECT_THAT(differ, ElementsAre(4, 301, 500));
}

TEST_F(FusedSearchTest, ALostDeviceStaysLostWhereverItFails) {
  int failed = 0;
  for (int fault = 0; fault < 40; ++fault) {
    int left = std::numeric_limits<int>::max();
    Make(16, 3000, {.fault = [&] { return left-- > 0 ? absl::OkStatus() : absl::UnavailableError("lost"); }});
    SetRandomKeys(1000);
    WriteAll();
    SetRandomKeys(3000);
    const std::vector<float> row = Unit(random_, dim_);
    std::vector<SearchResult> results;
    std::vector<uint8_t> certified;
    left = fault;
    absl::Status status = search_->Write(keys_->View(), Positions(0, 3000));
    if (status.ok()) status = search_->Search(keys_->View(), row.data(), {20}, &results, &certified);
    left = std::numeric_limits<int>::max();
    if (status.ok()) break;  // there are no more places
    ++failed;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(search_->Search(keys_->View(), row.data(), {20}, &results, &certified).code(),
              absl::StatusCode::kUnavailable);
    EXPECT_THAT(certified, ElementsAre(0));
  }
  EXPECT_GT(failed, 10);
  EXPECT_LT(failed, 40);
}

TEST_F(FusedSearchTest, WithoutMemoryForMoreKeysThoseThatWereThereStay) {
  Make(16, 100'000, {.memory_bytes = size_t{11} << 20});
  SetRandomKeys(500);
  WriteAll();
  const Keys before = *keys_;
  for (uint32_t p = 0; p < 90'000; ++p) keys_->Set(p, Unit(random_, dim_));
  EXPECT_EQ(search_->Write(keys_->View(), Positions(0, 90'000)).code(), absl::StatusCode::kResourceExhausted);
  *keys_ = before;
  ExpectAllCertified(RandomRows(3), 20);
}

}  // namespace
}  // namespace evoke
