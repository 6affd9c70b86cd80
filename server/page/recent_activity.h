// What the server did in the last two minutes, kept for whoever looks at its page: no Prometheus is needed to see that a
// memory learns, what it forgot and how long that took.
//
//   RecentActivity recent(&clock, &exporter);
//   options.make_probe = [&](name) { return recent.Watch(name, exporter.MakeProbe(name)); };
//   context.observer = &recent;                  // tells `exporter` of every call
//
// Thread-safe. It must outlive the probes. About 10 KB a memory and 15 KB a method that was called; a turn or a call costs
// well under a microsecond more.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/engine/engine_probe.h"
#include "server/page/recent_window.h"
#include "server/service/call_observer.h"

namespace evoke {

struct SecondOfTurns {
  uint32_t turns = 0;
  uint32_t rows_read = 0;     // of queries, slots and rows that do not write
  uint32_t hits = 0;          // observations that reinforced a slot
  uint32_t inserts = 0;       // ... that took a free one
  uint32_t evictions = 0;     // ... that took another value's
  float slowest_seconds = 0;  // of its turns, with the wait in the mailbox
};

struct SecondOfCalls {
  uint32_t calls = 0;
  uint32_t errors = 0;  // of them not OK
};

// An eviction, and when its turn was done.
struct RecentEviction : Eviction {
  absl::Time at;
};

// Since the start, of one memory.
struct TurnHistory {
  std::vector<SecondOfTurns> seconds;  // the oldest first; the last one is over
  double p50_seconds = 0;              // of turns, with the wait; of the last minute; 0: there was none
  double p99_seconds = 0;
  std::vector<RecentEviction> evictions;  // the latest first, at most kEvictionsKept
};

struct CallHistory {
  std::string method;  // as in CallObserver
  std::vector<SecondOfCalls> seconds;  // as above
  double p50_seconds = 0;
  double p99_seconds = 0;
};

class RecentActivity final : public CallObserver {
 public:
  static constexpr size_t kEvictionsKept = 64;  // of a memory

  // `next`, which is told of everything too, must outlive this.
  RecentActivity(Clock* clock, CallObserver* next) : clock_(clock), next_(next) {}
  ~RecentActivity() override;

  // A probe that keeps what it hears and passes it on to `next`, which may be null.
  std::unique_ptr<EngineProbe> Watch(std::string_view memory, std::unique_ptr<EngineProbe> next);

  void OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) override;
  void OnRefused(std::string_view memory, std::string_view reason) override;

  TurnHistory TurnsOf(std::string_view memory) const;  // zeros for a memory that is not watched
  std::vector<CallHistory> Calls() const;              // of the methods that were called; ascending name

 private:
  class Memory;
  class Probe;
  struct MethodCalls {
    SecondRing<SecondOfCalls> seconds;
    LatencyWindow latencies;
  };

  Clock* const clock_;
  CallObserver* const next_;
  mutable Mutex mu_;
  std::map<std::string, std::weak_ptr<Memory>, std::less<>> memories_ ABSL_GUARDED_BY(mu_);  // by name
  std::map<std::string, MethodCalls, std::less<>> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
