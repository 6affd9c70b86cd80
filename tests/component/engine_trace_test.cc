// The traces of semantics.md section 8 on the engine: any shards, any exact index, asking for one thing at a time,
// shards a turn late.
#include <gtest/gtest.h>

#include "tests/testing/engine_driver.h"

namespace evoke::testing {
namespace {

struct Case {
  const char* name;
  EngineOptions engine;
};

EngineOptions With(uint32_t shards, const char* index, bool one_at_a_time = false, uint32_t lag = 0) {
  return {.shards = shards, .index = index, .ask_one_at_a_time = one_at_a_time, .apply_lag_turns = lag};
}

class EngineTraceTest : public ::testing::TestWithParam<Case> {
 protected:
  MemoryFactory Factory() const {
    return [engine = GetParam().engine](const ModelSpec& spec) {
      return MakeEngineUnderTest({.spec = spec, .engine = engine});
    };
  }
};

TEST_P(EngineTraceTest, GoldenTrace) { RunGoldenTrace(Factory()); }
TEST_P(EngineTraceTest, HashTraces) { RunHashTraces(Factory()); }
TEST_P(EngineTraceTest, CornerCases) { RunCornerCases(Factory()); }

INSTANTIATE_TEST_SUITE_P(Setups, EngineTraceTest,
                         ::testing::Values(Case{"OneShard", With(1, "flat")}, Case{"TwoShards", With(2, "flat")},
                                           Case{"ThreeShards", With(3, "flat")}, Case{"EightShards", With(8, "flat")},
                                           Case{"Faiss", With(2, "faiss_flat")},
                                           Case{"OneAtATime", With(3, "flat", true)},
                                           Case{"ATurnLate", With(3, "flat", false, 1)},
                                           Case{"OneAtATimeAndThreeTurnsLate", With(2, "faiss_flat", true, 3)}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace evoke::testing
