// The thread that calls Driver::Poll when something is due.
#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/load/clock.h"
#include "client/load/driver.h"

namespace evoke::load {

// Runs from construction to destruction. `driver` and `clock`, on whose time it waits in the machine's,
// outlive it; it is the driver's waker.
class Pacer {
 public:
  Pacer(Driver* driver, Clock* clock);
  ~Pacer();
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

 private:
  void Run();

  Driver* const driver_;
  Clock* const clock_;
  absl::Mutex mu_;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace evoke::load
