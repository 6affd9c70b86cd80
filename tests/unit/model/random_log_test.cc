// The logs hold what makes two implementations differ, and are the same everywhere.
#include "tests/testing/random_log.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include "tests/testing/model_memory.h"

namespace evoke::testing {
namespace {

TEST(RandomLogTest, IsAFunctionOfItsOptions) {
  // Sum over a fixed log, so that a generator that changes with the platform is seen.
  uint64_t digest = 0;
  for (const LogEntry& entry : MakeRandomLog({.seed = 77, .clear_percent = 5}, 200)) {
    digest = digest * 31 + (entry.clear ? 7 : entry.rows.size());
    for (const ModelRow& row : entry.rows) {
      digest = digest * 31 + static_cast<uint64_t>(row.value) + (row.write ? 2 : 0) + (row.skip ? 1 : 0);
      for (char c : row.payload) digest = digest * 31 + static_cast<unsigned char>(c);
      for (float c : row.x) digest = digest * 31 + (std::isnan(c) ? 1 : std::bit_cast<uint32_t>(c));
    }
  }
  EXPECT_EQ(digest, 6389111374751031417u);
}

TEST(RandomLogTest, HoldsWhatItPromises) {
  const RandomLogOptions options{.seed = 3, .key_dim = 16, .capacity = 40, .clear_percent = 5};
  const ModelMemory memory({.key_dim = 16, .capacity = 40});
  std::set<std::vector<float>> seen;
  int clears = 0, large = 0, copies = 0, antipodes = 0, powers = 0, unwritten = 0, skipped = 0, payloads = 0;
  for (const LogEntry& entry : MakeRandomLog(options, 400)) {
    clears += entry.clear;
    large += entry.rows.size() > options.capacity;
    ASSERT_TRUE(memory.Accepts(entry.rows));
    for (const ModelRow& row : entry.rows) {
      unwritten += !row.write;
      skipped += row.skip;
      payloads += !row.payload.empty();
      if (row.skip) continue;
      std::vector<float> negative = row.x, twice = row.x;
      for (float& c : negative) c = -c;
      for (float& c : twice) c *= 1024;
      copies += seen.contains(row.x);
      antipodes += seen.contains(negative);
      powers += seen.contains(twice);
      seen.insert(row.x);
    }
  }
  for (int count : {clears, large, copies, antipodes, powers, unwritten, skipped, payloads})
    EXPECT_GT(count, 5);
}

TEST(RandomLogTest, MakesExactAndNearTies) {
  ModelMemory memory({.key_dim = 16, .capacity = 4000});
  RandomLog log({.key_dim = 16,
                 .value_count = 4,
                 .fresh = 0,
                 .duplicate = 0,
                 .near_center = 1,
                 .tie = 1,
                 .antipodal = 0,
                 .scaled = 0,
                 .same_value_percent = 0});
  for (int i = 0; i < 200; ++i) memory.Train(log.Next().rows);
  std::vector<float> axis(16, 0.0f);
  axis[0] = 1;
  const auto neighbors = memory.Query(axis, 4000);
  int exact = 0, near = 0;
  for (size_t i = 1; i < neighbors.size(); ++i) {
    const float gap = neighbors[i - 1].similarity - neighbors[i].similarity;
    exact += gap == 0;
    near += gap > 0 && gap < 1e-6f;
  }
  EXPECT_GT(exact, 100);
  EXPECT_GT(near, 100);
}

}  // namespace
}  // namespace evoke::testing
