// What both services share: the memories, the limits, and where calls are counted. Made by the composition
// root.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/base/thread_pool.h"
#include "server/engine/alarms.h"
#include "server/engine/catalog.h"
#include "server/service/call_observer.h"
#include "server/service/convert.h"

namespace evoke {

// Counts the mutating calls that are under way, so that a drain can wait for them. Thread-safe.
class MutationCount {
 public:
  void Begin();
  void End();
  int64_t count() const;
  // True when there are none, false when `timeout` passed first. More may begin at any time.
  bool WaitForNone(absl::Duration timeout);

 private:
  mutable Mutex mu_;
  CondVar none_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
};

struct ServiceContext {
  Catalog* catalog = nullptr;  // the pointers must outlive the services
  Scheduler* admin =
      nullptr;  // for Create and Delete; not the one that commits run on: a Delete waits for them
  CallObserver* observer = nullptr;  // may be null
  const Alarms* alarms = nullptr;    // may be null
  RequestLimits limits;
  EngineOptions engine;  // what Status tells of its limits
  uint32_t max_memories = 0;
  std::string instance;  // 16 random bytes
  std::string version;
  uint64_t arithmetic_fingerprint = 0;
  absl::Time started;
  Term term{1};
  std::atomic<bool> draining{false};  // set once: mutations get UNAVAILABLE / DRAINING
  MutationCount mutations;
};

// UNAVAILABLE / DRAINING.
absl::Status DrainingError();

}  // namespace evoke
