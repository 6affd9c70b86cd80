// What was seen of the calls that ended within a stretch of time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/load/latency_histogram.h"
#include "client/load/method.h"

namespace evoke::load {

// A plain value.
struct MethodMeasurements {
  LatencyHistogram latency;  // of calls that succeeded, their retries and waits included
  uint64_t rows = 0;         // of those
  uint64_t failed = 0;       // calls given up
  uint64_t shed = 0;         // calls that the server had no room for, where those are not repeated
};

// A plain value.
struct Measurements {
  std::array<MethodMeasurements, kMethodCount> methods;  // by Method
  LatencyHistogram send_delay;                           // from when a call was due until it was sent
  std::map<std::string, uint64_t> errors;                // attempts that failed, by "CODE/REASON"
  uint64_t retries = 0;                                  // attempts beyond the first of their call
  std::array<uint64_t, 8> outcomes{};                    // rows that wrote, by Outcome

  void Add(const Measurements& other);
  MethodMeasurements& of(Method method) { return methods[static_cast<size_t>(method)]; }
  const MethodMeasurements& of(Method method) const { return methods[static_cast<size_t>(method)]; }

  LatencyHistogram AllLatencies() const;
  uint64_t calls() const;   // that succeeded
  uint64_t rows() const;    // of those
  uint64_t failed() const;  // given up
  uint64_t shed() const;
};

// Where calls are noted while they end, on whatever thread. Thread-safe; one a connection, so that its lock
// is waited for by nobody but the reader.
class Recorder {
 public:
  // `note` is called with what there is so far.
  template <typename Function>
  void Note(Function note) {
    absl::MutexLock lock(&mu_);
    note(current_);
  }
  // Everything since the last Take, which begins anew.
  Measurements Take();
  // Adds everything since the last Take.
  void AddTo(Measurements* sum) const;

 private:
  mutable absl::Mutex mu_;
  Measurements current_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke::load
