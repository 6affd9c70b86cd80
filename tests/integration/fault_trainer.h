// One client that trains a memory of a server that has faults, and the oracle beside it.
//
// Its numbers are its own and explicit: mutation n is turn n, so what the server holds after a fault is named by its
// turn. Thread-compatible.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"
#include "tests/testing/model_memory.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {

// A variable of the test's environment; `otherwise` when it is not set.
uint64_t NumberFrom(const char* variable, uint64_t otherwise);

class FaultTrainer {
 public:
  // Creates the memory. Requires: the server serves and outlives this.
  FaultTrainer(const ServerProcess& server, const std::string& memory, v1::Durability durability, uint64_t seed = 1);

  // The next mutation, or, while the outcome of the last one is not known, that one again; "OK", or code and reason.
  std::string Step();
  // Until it is answered, whatever comes meanwhile; then all is as the oracle says.
  void StepUntilOk();
  std::string Query();

  // What the server holds is the oracle's state after some turn from `least` on. Later ones are forgotten here.
  void ExpectStateOfSomeTurnFrom(uint64_t least);
  uint64_t acknowledged() const { return acknowledged_; }
  const std::string& last_message() const { return last_message_; }
  // The next mutation as a request, for who wants to send it himself; it counts as sent.
  v1::TrainStepRequest NextRequest();

 private:
  const std::string memory_;
  RawClient client_;
  RandomLog log_;
  std::unique_ptr<ModelMemory> model_;
  std::vector<LogEntry> entries_;   // of mutations 1, 2, ...
  std::vector<std::string> hashes_;  // after as many mutations
  uint64_t acknowledged_ = 0;
  std::string last_message_;
};

}  // namespace evoke::testing
