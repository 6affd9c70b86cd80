// Exact indexes against the plainest answer: the similarity of every live key, sorted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/base/thread_pool.h"
#include "server/index/device_plan.h"
#include "server/index/index_factory.h"
#include "server/index/scan_paths.h"
#include "server/index/top_candidates.h"
#include "server/similarity/similarity.h"
#include "tests/testing/gpu_twin.h"
#include "tests/testing/index_oracle.h"
#include "tests/testing/twin_keys.h"
#include "tests/unit/similarity/random_vectors.h"

namespace evoke {
namespace {

constexpr size_t kBackwards = 1000;  // one thread, the last part first

struct Setup {
  const char* name;
  size_t threads;  // 0: without Parallel
  std::optional<ScanPath> path;  // of the certified scan; empty: the machine's best
};
void PrintTo(const Setup& s, std::ostream* out) {
  *out << s.name << " on " << s.threads;
  if (s.path) *out << " with " << Name(*s.path);
}

class IndexTest : public ::testing::TestWithParam<Setup> {
 protected:
  void SetUp() override {
    if (GetParam().path) path_.emplace(*GetParam().path);
  }
  std::unique_ptr<Index> Make(uint32_t dim, uint32_t capacity) {
    IndexOptions options{.dim = dim, .capacity = capacity};
    const size_t threads = GetParam().threads;
    if (threads == kBackwards) {
      options.parallel = [](size_t count, const std::function<void(size_t)>& body) {
        for (size_t i = count; i-- > 0;) body(i);
      };
    } else if (threads > 0) {
      if (!pool_) pool_ = std::make_unique<ThreadPool>("test", threads);
      options.parallel = [this, threads](size_t count, const std::function<void(size_t)>& body) {
        ParallelFor(pool_.get(), threads, count, body);
      };
    }
    if (on_device()) options.make_device = testing::GpuTwinDevices({}, TwinDevices());
    return *CreateIndex(GetParam().name, options);
  }
  bool is_flat() const { return std::string(GetParam().name) == "flat"; }
  bool is_faiss() const { return std::string(GetParam().name) == "faiss_flat"; }
  bool on_device() const { return IsDeviceIndex(GetParam().name); }
  bool has_copy() const { return is_faiss() || on_device(); }

  std::unique_ptr<ThreadPool> pool_;
  std::optional<ScopedScanPath> path_;
};

TEST_P(IndexTest, NothingIsFoundInAnEmptyShard) {
  std::unique_ptr<Index> index = Make(4, 0);
  Keys keys(0, 4);
  index->Rebuild(keys.View());
  ExpectExact(index.get(), keys, {{1, 0, 0, 0}}, {5});
}

TEST_P(IndexTest, RandomKeysOfEveryDimension) {
  std::mt19937_64 random = SeededGenerator();
  for (const uint32_t dim : {1u, 2u, 15u, 16u, 17u, 64u, 100u, 128u, 1000u, 4096u}) {
    const uint32_t count = dim > 500 ? 333 : 5003;
    std::unique_ptr<Index> index = Make(dim, count + 5);
    Keys keys(count + 5, dim);
    for (uint32_t p = 0; p < count; ++p) keys.Set(p, Unit(random, dim));
    index->Rebuild(keys.View());
    std::vector<std::vector<float>> rows;
    std::vector<uint32_t> want;
    for (int r = 0; r < 33; ++r) {
      rows.push_back(r % 5 == 0 ? keys.Get(static_cast<uint32_t>(random() % count)) : Unit(random, dim));
      want.push_back(1 + static_cast<uint32_t>(random() % (r % 7 == 0 ? count + 10 : 50)));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectExact(index.get(), keys, rows, want)) << "dim " << dim;
  }
}

// What FAISS's order alone gets wrong: thousands of keys whose similarities lie closer than its rounding.
TEST_P(IndexTest, NearTiesByTheThousand) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 128;
  constexpr uint32_t kCount = 9001;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> center = Unit(random, kDim);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key = center;
    if (p % 3 == 0) {
      key = Unit(random, kDim);
    } else {
      for (int e = 0; e < 4; ++e)
        key[random() % kDim] += std::ldexp(1.0f, -20 - static_cast<int>(random() % 4));
      Normalise(key.data(), kDim, key.data());
    }
    keys.Set(p, key);
  }
  index->Rebuild(keys.View());
  std::vector<std::vector<float>> rows{center};
  for (int r = 0; r < 9; ++r) {
    rows.push_back(keys.Get(static_cast<uint32_t>(random() % kCount)));
    std::vector<float> close = center;
    close[random() % kDim] += 0.01f;
    Normalise(close.data(), kDim, close.data());
    rows.push_back(close);
  }
  ExpectExact(index.get(), keys, rows, std::vector<uint32_t>(rows.size(), 256));
  EXPECT_EQ(index->stats().uncertified_rows > 0, has_copy());
}

TEST_P(IndexTest, ExactTiesAcrossTheCutGoToTheLowerPosition) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 64;
  constexpr uint32_t kCount = 40'001;  // several parts of a scan
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  std::vector<std::vector<float>> few;
  for (int i = 0; i < 7; ++i) few.push_back(Unit(random, kDim));
  for (uint32_t p = 0; p < kCount; ++p) keys.Set(p, few[random() % few.size()]);
  index->Rebuild(keys.View());
  const std::vector<std::vector<float>> rows{few[0], few[1], Unit(random, kDim)};
  ExpectExact(index.get(), keys, rows, {100, 6000, 100});
  // All equal: only the position decides.
  for (uint32_t p = 0; p < kCount; ++p) keys.Set(p, few[0]);
  index->Rebuild(keys.View());
  ExpectExact(index.get(), keys, rows, {33, 1, 2000});
}

// Components far below the smallest normal number, and similarities of +0 and -0, which are equal.
TEST_P(IndexTest, SubnormalComponentsZerosAndAntipodes) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 20;
  constexpr uint32_t kCount = 3001;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> pole = Unit(random, kDim);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key(kDim, random() % 2 == 0 ? 0.0f : -0.0f);
    switch (random() % 4) {
      case 0:
        key = pole;
        for (float& x : key) x = -x;
        break;
      case 1:
        key[random() % 2] = random() % 2 == 0 ? 1.0f : -1.0f;
        break;
      case 2:
        key = RandomVector(random, Kind::kVanishing, kDim);
        for (float& x : key) x *= 0x1p-64f;
        key[0] = 1.0f;
        break;
      default:
        key = RandomVector(random, Kind::kWide, kDim);
        for (float& x : key) x = std::abs(x) < 1 ? x : 0.0f;
        key[5] = 1.0f;
        Normalise(key.data(), kDim, key.data());
    }
    keys.Set(p, key);
  }
  index->Rebuild(keys.View());
  std::vector<float> e7(kDim);
  e7[7] = 1.0f;
  std::vector<float> e0(kDim);
  e0[0] = -1.0f;
  ExpectExact(index.get(), keys, {pole, e7, e0, Unit(random, kDim)}, {50, 700, 2000, 1});
}

// Every step of a long life, with positions free at all places.
TEST_P(IndexTest, OverwritesErasesAndGrowth) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 32;
  constexpr uint32_t kCapacity = 20'011;
  std::unique_ptr<Index> index = Make(kDim, kCapacity);
  Keys keys(kCapacity, kDim);
  const std::vector<float> center = Unit(random, kDim);
  uint32_t reach = 100;
  for (int round = 0; round < 30; ++round) {
    reach = std::min<uint32_t>(kCapacity, reach + reach / 4);
    std::vector<uint32_t> erased;
    std::vector<uint32_t> written;
    for (uint32_t i = 0; i < reach / 4; ++i) {
      const uint32_t p = static_cast<uint32_t>(random() % reach);
      if (random() % 3 == 0) {
        keys.Unset(p);
        erased.push_back(p);
      } else if (std::find(erased.begin(), erased.end(), p) == erased.end()) {
        std::vector<float> key = random() % 3 == 0 ? center : Unit(random, kDim);
        if (random() % 4 == 0) {
          for (float& x : key) x = -x;
        }
        keys.Set(p, key);
        written.push_back(p);
      }
    }
    std::erase_if(written, [&](uint32_t p) { return !keys.View().IsLive(p); });
    index->Erase(erased);
    index->Upsert(keys.View(), written);
    if (round == 20) index->Rebuild(keys.View());
    std::vector<std::vector<float>> rows{center};
    for (int r = 0; r < 5; ++r) rows.push_back(Unit(random, kDim));
    std::vector<float> antipode = center;
    for (float& x : antipode) x = -x;
    rows.push_back(antipode);
    const auto live = static_cast<uint32_t>(keys.View().live_count);
    ASSERT_NO_FATAL_FAILURE(
        ExpectExact(index.get(), keys, rows, {40, 1, 7, 300, live + 1, std::max(1u, live), 20}))
        << "round " << round;
  }
}

// A certified search must not be the scan in disguise.
TEST_P(IndexTest, RandomKeysAreCertifiedWithoutAnotherSearch) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 64;
  constexpr uint32_t kCount = 10'000;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  for (uint32_t p = 0; p < kCount; ++p) keys.Set(p, Unit(random, kDim));
  index->Rebuild(keys.View());
  std::vector<std::vector<float>> rows;
  for (int r = 0; r < 100; ++r) rows.push_back(Unit(random, kDim));
  ExpectExact(index.get(), keys, rows, std::vector<uint32_t>(rows.size(), 64));
  // One row of thousands is beyond what the fused scan's guess allows for.
  EXPECT_LE(index->stats().uncertified_rows, std::string(GetParam().name) == "gpu" ? 2u : 0u);
  EXPECT_EQ(index->stats().scanned_rows, std::string(GetParam().name) == "canonical" ? 100u * kCount : 0u);
  EXPECT_LE(index->MemoryBytes(), is_faiss() ? kCount * kDim * sizeof(float) * 101 / 100 + 4096 : 0);
}

// Keys that are not of unit norm must not slip through the certificate either.
TEST_P(IndexTest, LongKeysWidenTheBound) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 96;
  constexpr uint32_t kCount = 4000;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> center = RandomVector(random, Kind::kNormal, kDim);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key = center;
    for (float& x : key) x *= 1000.0f;
    key[random() % kDim] +=
        0.03f * RandomVector(random, Kind::kNormal, 1)[0];  // less than FAISS's rounding shows
    keys.Set(p, key);
  }
  index->Rebuild(keys.View());
  std::vector<std::vector<float>> rows{center};
  for (int r = 0; r < 15; ++r) {
    rows.push_back(center);
    rows.back()[random() % kDim] += 1.0f;
  }
  ExpectExact(index.get(), keys, rows, std::vector<uint32_t>(rows.size(), 100));
}

// One key so long that the rounding of all is measured by it, and one that bfloat16 cannot hold.
TEST_P(IndexTest, OneHugeKeyAmongUnitVectors) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 33;
  constexpr uint32_t kCount = 20'001;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  for (uint32_t p = 0; p < kCount; ++p) keys.Set(p, Unit(random, kDim));
  index->Rebuild(keys.View());
  std::vector<std::vector<float>> rows;
  for (int r = 0; r < 9; ++r) rows.push_back(Unit(random, kDim));
  rows.push_back(keys.Get(776));  // a scan reads beyond its end
  for (const float length : {1e4f, 1e20f, 3.4e38f}) {
    std::vector<float> huge(kDim);
    huge[0] = length;
    keys.Set(777, huge);
    index->Upsert(keys.View(), {777});
    ASSERT_NO_FATAL_FAILURE(ExpectExact(index.get(), keys, rows, std::vector<uint32_t>(rows.size(), 64))) << length;
    ASSERT_NO_FATAL_FAILURE(ExpectExact(index.get(), keys, {rows[0], rows.back()}, {64, 64})) << length;
  }
}

// Roundings at the very bound, up in some keys and down in others, so that rough scores differ by nearly 2 eps the wrong
// way; and keys at the sampled places that make the first guess too high by half of that.
TEST_P(IndexTest, RoundingsThatConspire) {
  constexpr uint32_t kDim = 16;
  constexpr uint32_t kCount = 32'768;
  constexpr float kHalf = 0x1p-10f;  // half the distance of bfloat16 numbers from 0.25 to 0.5
  constexpr float kStep = 0x1p-9f;
  constexpr float kBase = 0.3125f;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> row(kDim, 0.25f);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key(kDim, kBase + kHalf);  // rounds up
    if (p % 512 == 3 && p < 30 * 512) {           // sampled, and rough scores are higher still
      for (uint32_t e = 0; e < 8; ++e) key[e] += kStep;
    } else if (p % 100 == 1) {  // rounds down, to the best similarities but for the sampled ones
      for (uint32_t e = 0; e < kDim; ++e) key[e] = kBase + kHalf - 0x1p-20f + (e % 2 == 0 ? kStep : -kStep);
      key[1] += kStep;
    } else if (p % 30 != 0) {  // far away
      for (float& x : key) x = 0.01f;
    }
    keys.Set(p, key);
  }
  index->Rebuild(keys.View());
  ExpectExact(index.get(), keys, {row, row}, {300, 30 + 300});
  // So many rows that they may be scored another way.
  ExpectExact(index.get(), keys, std::vector<std::vector<float>>(100, row), std::vector<uint32_t>(100, 31));
}

// What a sample of evenly spaced keys says of the rest is wrong in both directions, and is found out.
TEST_P(IndexTest, KeysInAnOrderThatMisleadsASample) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 24;
  constexpr uint32_t kCount = 32'768;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> center = Unit(random, kDim);
  for (uint32_t p = 0; p < kCount; ++p) {
    std::vector<float> key = Unit(random, kDim);
    // Runs of 16 in every 512 are near the center, the others are not; later the other way around.
    if (p % 512 < 16 && p < kCount / 2) {
      for (uint32_t e = 0; e < kDim; ++e) key[e] = center[e] + 0.05f * key[e];
      Normalise(key.data(), kDim, key.data());
    }
    keys.Set(p, key);
  }
  index->Rebuild(keys.View());
  std::vector<float> away = center;
  for (float& x : away) x = -x;
  ExpectExact(index.get(), keys, {center, away, Unit(random, kDim)}, {1000, 1000, 1000});
  if (!is_flat()) return;
  EXPECT_GT(index->stats().uncertified_rows, 0u);
  EXPECT_EQ(index->stats().scanned_rows, 0u);
}

TEST_P(IndexTest, MoreEqualKeysThanManyRowsMayHold) {
  if (!is_flat()) return;  // the others hold nothing
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kDim = 4;
  constexpr uint32_t kCount = 20'000;
  std::unique_ptr<Index> index = Make(kDim, kCount);
  Keys keys(kCount, kDim);
  const std::vector<float> same = Unit(random, kDim);
  for (uint32_t p = 0; p < kCount; ++p) keys.Set(p, same);
  index->Rebuild(keys.View());
  std::vector<std::vector<float>> rows;
  for (int r = 0; r < 300; ++r) rows.push_back(Unit(random, kDim));
  ExpectExact(index.get(), keys, rows, std::vector<uint32_t>(rows.size(), 3));
  EXPECT_EQ(index->stats().scanned_rows, 300u * kCount);
}

TEST_P(IndexTest, VerifyFindsWhatItsOwnCopyHasOtherwise) {
  constexpr uint32_t kDim = 8;
  std::mt19937_64 random = SeededGenerator();
  Keys keys(9000, kDim);  // several segments
  for (uint32_t p = 0; p < 9000; p += 2) keys.Set(p, Unit(random, kDim));
  const auto index = Make(kDim, 9000);
  index->Rebuild(keys.View());
  std::vector<uint32_t> all(9000);
  for (uint32_t p = 0; p < 9000; ++p) all[p] = p;
  EXPECT_THAT(index->Verify(keys.View(), all), ::testing::IsEmpty());
  // The keys change and the index is not told.
  keys.Set(8000, Unit(random, kDim));
  keys.Set(5001, Unit(random, kDim));
  keys.Unset(4);
  if (!has_copy()) {
    EXPECT_THAT(index->Verify(keys.View(), all), ::testing::IsEmpty());  // it has no copy
    return;
  }
  EXPECT_THAT(index->Verify(keys.View(), all), ::testing::ElementsAre(4, 5001, 8000));
  EXPECT_THAT(index->Verify(keys.View(), {6, 8, 8000}), ::testing::ElementsAre(8000));
  index->Upsert(keys.View(), {5001, 8000});
  index->Erase({4});
  EXPECT_THAT(index->Verify(keys.View(), all), ::testing::IsEmpty());
}

std::vector<Setup> Paths() {
  std::vector<Setup> setups;
  for (const ScanPath path : AvailableScanPaths()) setups.push_back({"flat", 2, path});
  return setups;
}

INSTANTIATE_TEST_SUITE_P(Paths, IndexTest, ::testing::ValuesIn(Paths()),
                         [](const auto& info) { return std::string(Name(*info.param.path)); });

std::vector<Setup> Twins() {
  return testing::GpuTwinRuns() ? std::vector<Setup>{{"gpu", 2}} : std::vector<Setup>();
}
INSTANTIATE_TEST_SUITE_P(Twins, IndexTest, ::testing::ValuesIn(Twins()),
                         [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(All, IndexTest,
                         ::testing::Values(Setup{"flat", 0}, Setup{"flat", 2}, Setup{"flat", 8},
                                           Setup{"flat", kBackwards}, Setup{"canonical", 0}, Setup{"canonical", 2},
                                           Setup{"canonical", kBackwards}, Setup{"faiss_flat", 0},
                                           Setup{"faiss_flat", 1}, Setup{"faiss_flat", 2},
                                           Setup{"faiss_flat", 8}, Setup{"faiss_flat", kBackwards},
                                           Setup{"faiss_gpu", 2}, Setup{"faiss_gpu_f16", 0}),
                         [](const auto& info) {
                           return std::string(info.param.name) + "_" + std::to_string(info.param.threads);
                         });

TEST(IndexFactoryTest, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const absl::Status status = CreateIndex("hnsw", {.dim = 4, .capacity = 4}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("\"hnsw\", only flat, faiss_flat, canonical, gpu, faiss_gpu"));
}

TEST(TopCandidatesTest, KeepsTheBestAndOfEqualOnesTheEarliest) {
  TopCandidates top(3);
  std::mt19937_64 random = SeededGenerator();
  std::vector<Candidate> all;
  for (uint32_t p = 0; p < 5000; ++p) {
    const Candidate c{p, static_cast<float>(random() % 40) / 40.0f - 0.5f};
    all.push_back(c);
    if (c.similarity >= top.floor()) top.Push(c);
  }
  const auto before = [](const Candidate& a, const Candidate& b) { return Before(a, b); };
  std::sort(all.begin(), all.end(), before);
  std::vector<Candidate> pool = top.pool();
  std::sort(pool.begin(), pool.end(), before);
  ASSERT_GE(pool.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pool[i].position, all[i].position);
}

}  // namespace
}  // namespace evoke
