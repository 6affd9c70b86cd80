// A built evoked on a disk and a clock of ours: a ServerProcess under the shim of fault_preload.h.
//
//   FaultyServer server; server.Start();
//   server.faults().free_bytes = 0;                    // from now on its disk is full
//   server.LosePower();                                // killed; its files are cut to what it had synced
//
// Thread-compatible; `faults()` may be set at any time.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/server_process.h"
#include "tests/testing/fault_preload.h"

namespace evoke::testing {

class FaultyServer : public ServerProcess {
 public:
  explicit FaultyServer(std::vector<std::string> flags = {});
  ~FaultyServer();

  FaultControl& faults() { return *control_; }
  // SIGKILL, and then of every file only what was synced is there, and no file whose name was not. Renames and
  // removals stand: what they would bring back is in FaultFileSystem's tests.
  void LosePower();
  // Requires: it serves. The lines of /metrics that begin so.
  std::string Metric(const std::string& beginning) const;

 private:
  const TestFolder folder_;  // of the control block; the shim has no say there
  FaultControl* control_ = nullptr;
};

}  // namespace evoke::testing
