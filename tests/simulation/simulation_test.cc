// The whole engine under crash and fault, seed after seed (tests/README.md, "Simulation").
//
//   EVOKE_SIMULATION_SEEDS=5000 build/ci/tests/simulation_test       as many seeds, from EVOKE_TEST_SEED (1)
//   on
#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace evoke::testing {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

// Sanitizers make a seed five times as slow, and see more in it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 25;
#else
constexpr uint64_t kSeeds = 100;
#endif

// How to have the seed at hand again; also for a check that fails, or worse, inside the engine.
std::string g_again;

void TellSeed() {
  if (write(STDERR_FILENO, g_again.data(), g_again.size()) < 0) return;
}

extern "C" void TellSeedAndDie(int signal) {
  TellSeed();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void TellSeedWhenItDies() {
  std::signal(SIGABRT, TellSeedAndDie);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(TellSeed);
#else
  std::signal(SIGSEGV, TellSeedAndDie);
#endif
}

TEST(SimulationTest, EveryReplyAndEveryRecoveredStateIsTheOraclesUnderCrashAndFault) {
  const uint64_t first = FromEnvironment("EVOKE_TEST_SEED", 1);
  const uint64_t count = FromEnvironment("EVOKE_SIMULATION_SEEDS", kSeeds);
  Simulation::Totals totals;
  uint64_t traces = 0;  // equal on every machine
  TellSeedWhenItDies();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    g_again = absl::StrCat("seed ", seed, " failed after ", seed - first,
                           " that passed; again: EVOKE_TEST_SEED=", seed,
                           " EVOKE_SIMULATION_SEEDS=1 simulation_test --gtest_filter='*Oracle*'\n");
    Simulation simulation(seed);
    simulation.Run();
    totals += simulation.totals();
    traces ^= simulation.trace();
    if (HasFailure()) {
      FAIL() << simulation.Story() << g_again;
    }
  }
  if (count >= 100) {  // else chance may have left one out
    for (const char* where : SimulatedServer::kPlacesOfDeath) {
      EXPECT_GT(totals.deaths[where], 0u) << "nobody died here: " << where;
    }
  }
  std::printf("%llu seeds from %llu: %s; traces %016llx\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(first), totals.ToString().c_str(),
              static_cast<unsigned long long>(traces));
}

TEST(SimulationTest, ASeedIsTheSameRunEveryTime) {
  for (uint64_t seed : {1, 2, 3}) {
    Simulation once(seed), again(seed);
    once.Run();
    again.Run();
    EXPECT_EQ(once.trace(), again.trace()) << "seed " << seed;
    EXPECT_EQ(once.totals().ToString(), again.totals().ToString());
  }
}

TEST(SimulationTest, ADifferentSeedIsAnotherRun) {
  Simulation one(1), other(2);
  one.Run();
  other.Run();
  EXPECT_NE(one.trace(), other.trace());
}

}  // namespace
}  // namespace evoke::testing
