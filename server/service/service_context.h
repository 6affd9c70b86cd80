// What both services share: the memories, the limits, and where calls are counted. Made by the composition
// root.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/base/thread_pool.h"
#include "server/engine/alarms.h"
#include "server/engine/catalog.h"
#include "server/engine/snapshots.h"
#include "server/service/audit.h"
#include "server/service/auth.h"
#include "server/service/call_observer.h"
#include "server/service/convert.h"
#include "server/service/open_streams.h"

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

// The limits of requests, which may change while requests are checked against them: a call sees the old or
// the new ones. Thread-safe.
class CurrentLimits {
 public:
  void Set(RequestLimits limits);
  // Valid until: this object goes. Those that were replaced are kept: few bytes, as often as somebody says
  // SIGHUP.
  const RequestLimits& operator*() const { return *current_.load(std::memory_order_acquire); }
  const RequestLimits* operator->() const { return &**this; }

 private:
  Mutex mu_;
  std::deque<RequestLimits> all_ ABSL_GUARDED_BY(mu_) = {RequestLimits()};
  std::atomic<const RequestLimits*> current_ = &all_.front();
};

struct ServiceContext {
  Catalog* catalog = nullptr;  // the pointers must outlive the services
  Scheduler* admin =
      nullptr;  // for Create and Delete; not the one that commits run on: a Delete waits for them
  Scheduler* long_calls = nullptr;   // for calls that read or write whole memories; null: there are none
  Snapshots* snapshots = nullptr;    // set when long_calls is
  CallObserver* observer = nullptr;  // may be null
  const Auth* auth = nullptr;        // null: every caller is admin, as in a test without a server around it
  AuditLog* audit = nullptr;         // null: nothing is written
  const Alarms* alarms = nullptr;    // may be null
  CurrentLimits limits;
  EngineOptions engine;  // what Status tells of its limits
  uint32_t max_memories = 0;
  uint32_t max_open_exports = 0;
  std::string instance;  // 16 random bytes
  std::string version;
  std::string simd;  // instructions that searches use
  uint64_t arithmetic_fingerprint = 0;
  absl::Time started;
  Term term{1};
  std::atomic<uint32_t> open_calls{0};  // on long_calls
  std::atomic<bool> draining{false};  // set once: mutations get UNAVAILABLE / DRAINING
  MutationCount mutations;
  OpenStreams streams;                // a drain ends them
};

// The first thing that every call does, unary or streaming: who calls? UNAUTHENTICATED. Then AuthorizeMethod
// before the request is read, and AuthorizeMemory for each memory that it names (access.h). The last: RecordCall.
absl::StatusOr<std::shared_ptr<const Principal>> Authenticate(const ServiceContext& shared,
                                                              const grpc::ServerContextBase& context);

// UNAVAILABLE / DRAINING.
absl::Status DrainingError();

}  // namespace evoke
