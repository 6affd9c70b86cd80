// Puts load on a target: hands the calls that are due to the lanes that are free.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/load/arrivals.h"
#include "client/load/lane.h"
#include "client/load/measurements.h"

namespace evoke::load {

// Closed loop: every lane takes its next call when it has ended one. Open loop: calls are due by Arrivals,
// and wait for a free lane where there is none; their latency counts from when they were due.
//
//   driver.Start(Arrivals({...}));            // or nullopt: closed loop
//   while (...) wait until driver.Poll();     // pacer.h is a thread that does
//   Measurements window = driver.Take();
//   driver.Stop();                            // idle() some time later
//
// Thread-safe. Has no thread and waits for nothing: work is done by whoever calls Poll, and by the target's
// threads. Must be idle when it goes.
class Driver {
 public:
  struct Options {
    int connections = 1;
    int in_flight = 1;              // lanes a connection
    std::optional<uint64_t> calls;  // begins no more than that, in all
  };
  // `clock` and what `context` points to outlive it; `context.abandoned` is the driver's own.
  Driver(const Options& options, LaneContext context);
  ~Driver();

  // `waker` is called, from any thread and with a lock held, when Poll has to be called earlier than it said:
  // it may not call this object. Before the first Start.
  void SetWaker(std::function<void()> waker) { waker_ = std::move(waker); }

  // Requires: idle.
  void Start(std::optional<Arrivals> arrivals);
  // Begins no more calls; those under way go on to their end.
  void Stop();
  // Stop, and nothing is sent again either: all is over when the attempts under way are.
  void Abandon();

  // Begins what is due by now. Returns: when to call it again; InfiniteFuture when only a reply changes
  // anything.
  absl::Time Poll();

  // What ended since the last Take.
  Measurements Take();
  // The same, without beginning anew.
  Measurements Look() const;

  struct State {
    int in_flight = 0;      // lanes that have a call
    absl::Duration behind;  // open loop: since when the next call is due that no lane was free for; else zero
    uint64_t begun = 0;     // calls, in all
    bool finished = false;  // Options::calls were begun
  };
  State state() const;
  bool idle() const { return state().in_flight == 0; }

  // Sends every lane's last mutation again (Lane::Replay). Requires: idle. Ends with
  // the first error.
  absl::Status Replay();

 private:
  struct Work {
    Lane* lane;
    bool begin = false;             // a call; else it sends its own again
    std::optional<absl::Time> due;  // of the open loop
  };
  struct Retry {
    absl::Time at;
    Lane* lane;
    friend bool operator<(const Retry& a, const Retry& b) { return a.at > b.at; }  // the earliest is the top
  };

  // When the next call is due, if one may begin now.
  std::optional<absl::Time> NextDue(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the call that NextDue tells, for `lane`.
  Work Claim(Lane* lane, absl::Time due) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(const Work& work);
  void OnDone(Lane* lane, const absl::Status& status);

  std::atomic<bool> abandoned_ = false;  // stands alone, so relaxed order is enough
  const LaneContext context_;
  const std::optional<uint64_t> max_calls_;
  std::vector<std::unique_ptr<Recorder>> recorders_;  // one a connection
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::function<void()> waker_;

  mutable absl::Mutex mu_;
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Arrivals> arrivals_ ABSL_GUARDED_BY(mu_);  // absent: closed loop
  std::deque<Lane*> free_ ABSL_GUARDED_BY(mu_);            // used in turn, so that all sessions live
  std::priority_queue<Retry> retries_ ABSL_GUARDED_BY(mu_);
  uint64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace evoke::load
