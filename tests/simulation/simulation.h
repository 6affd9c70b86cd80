// One seed: a memory, its disk, a server that dies, and trainers that keep on; run to a number of turns and
// judged.
//
//   Simulation simulation(seed); simulation.Run();      // EXPECTs; stops at the first that fails
//
// The seed decides everything: the spec, the options of every start of the server, the trainers, the order of
// all work, and every fault. A run is a function of its seed, so a failing seed fails again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/history.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/simulation/simulated_server.h"
#include "tests/simulation/trainer.h"
#include "tests/simulation/virtual_world.h"

namespace evoke::testing {

class Simulation {
 public:
  explicit Simulation(uint64_t seed);
  void Run();

  struct Totals {
    uint64_t turns = 0, mutations = 0, retries = 0, reads = 0, refusals = 0, failed_commits = 0,
             lost_turns = 0, eras = 0;
    std::map<std::string, uint64_t> deaths;  // by where
    Totals& operator+=(const Totals& o);
    std::string ToString() const;
  };
  Totals totals() const;
  uint64_t trace() const { return world_.trace(); }
  // What kind of run it is, and what happened last.
  std::string Story() const;

 private:
  void ChooseMemory();
  void ChooseFaults();
  EngineOptions ChooseEngine();
  void AddTrainers();
  // Something befalls server or disk; then again, some time later.
  void Fate();
  void Restart();
  // Lets everybody come to an end in peace.
  void Settle();
  // False when the run has failed or takes too long.
  bool Step();

  const uint64_t seed_;
  VirtualWorld world_;
  ModelSpec model_;
  MemorySpec spec_;
  EngineOptions limits_;  // what stays the same for all starts
  uint64_t target_turns_ = 0;
  int calamity_percent_ = 0;  // of fate's visits
  int deaths_per_10000_ = 0;  // pieces of work
  SimulatedDisk::Faults usual_faults_;
  bool peace_ = false;

  std::unique_ptr<History> history_;
  std::unique_ptr<SimulatedDisk> disk_;
  std::unique_ptr<SimulatedServer> server_;
  std::vector<std::unique_ptr<Trainer>> trainers_;
};

}  // namespace evoke::testing
