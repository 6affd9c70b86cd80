// How many asynchronous calls are underway, and whether this thread is gRPC's. Internal.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace evoke::client {

// Lives on the stack while gRPC calls us, completions of the caller included. Its threads are needed to end
// other calls, so nothing in this library lets them wait, and they may not close a channel: gRPC 1.51 joins
// them when the last one with callbacks is closed.
class CompletionScope {
 public:
  CompletionScope() { ++depth_; }
  ~CompletionScope() { --depth_; }
  CompletionScope(const CompletionScope&) = delete;
  CompletionScope& operator=(const CompletionScope&) = delete;

  static bool InsideOne() { return depth_ > 0; }

 private:
  static inline thread_local int depth_ = 0;
};

// Back-pressure on those who begin calls. Thread-safe.
class InFlight {
 public:
  // One call underway, until it is destroyed.
  class Ticket {
   public:
    Ticket() = default;
    explicit Ticket(std::shared_ptr<InFlight> counter) : counter_(std::move(counter)) {}
    Ticket(Ticket&& other) noexcept = default;
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (counter_ == nullptr) return;
      absl::MutexLock lock(&counter_->mu_);
      --counter_->count_;
    }

   private:
    std::shared_ptr<InFlight> counter_;
  };

  explicit InFlight(size_t limit) : limit_(limit) {}

  // Counts one call, and first waits until fewer than `limit` are. Inside a completion it does not wait: the
  // call that ends there makes room for the one that begins.
  static Ticket Enter(std::shared_ptr<InFlight> counter) {
    absl::MutexLock lock(&counter->mu_);
    if (!CompletionScope::InsideOne()) counter->mu_.Await(absl::Condition(counter.get(), &InFlight::HasRoom));
    ++counter->count_;
    return Ticket(counter);
  }
  // Until there is none. Returns at once inside a completion, whose own call never ends before it returns.
  void AwaitNone() {
    absl::MutexLock lock(&mu_);
    if (!CompletionScope::InsideOne()) mu_.Await(absl::Condition(this, &InFlight::IsEmpty));
  }

 private:
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return count_ < limit_; }
  bool IsEmpty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return count_ == 0; }

  const size_t limit_;
  absl::Mutex mu_;
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace evoke::client
