// The process's workers: tasks that compute, and apart from them tasks that may block on a disk.
//
// Scheduler is what engine and shards see; a simulation runs the same code on one thread in a seeded order.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "server/base/mutex.h"

namespace evoke {

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  using Work = std::function<void()>;
  virtual void Post(Work work) = 0;
  // Post by a task that is about to return: what it began goes on, on the same thread if it may.
  virtual void PostLast(Work work) { Post(std::move(work)); }
  // Whether the task that runs on this thread has such a successor, which waits until it returns.
  virtual bool HasLast() const { return false; }
};

// First in, first out, over `thread_count` threads; so memories that post small tasks share it fairly. A task's successor
// (PostLast) goes before them: waking another thread may cost more than the task.
// Thread-safe. Post from inside a task is allowed.
class ThreadPool final : public Scheduler {
 public:
  ThreadPool(const char* name, size_t thread_count);
  // Runs what was posted, then joins. Requires: nobody posts any more, except the tasks that run.
  ~ThreadPool() override;

  void Post(Work work) override;
  void PostLast(Work work) override;
  bool HasLast() const override;
  size_t thread_count() const { return threads_.size(); }

 private:
  void Run();

  Mutex mu_;
  CondVar wake_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

// A serial queue on a scheduler: at most one of its tasks runs at a time, in the order of Post, each seeing the
// effects of those before. Costs one scheduler task a burst. Thread-safe; tasks may outlive the Strand object itself
// (they hold its queue), so an owner that captures `this` in tasks must see them finish before it goes.
class Strand {
 public:
  explicit Strand(Scheduler* scheduler);
  void Post(Scheduler::Work work) { Add(std::move(work), &Scheduler::Post); }
  void PostLast(Scheduler::Work work) { Add(std::move(work), &Scheduler::PostLast); }

 private:
  struct Queue {
    Scheduler* scheduler;
    Mutex mu;
    std::deque<Scheduler::Work> work ABSL_GUARDED_BY(mu);
    bool running ABSL_GUARDED_BY(mu) = false;
  };
  void Add(Scheduler::Work work, void (Scheduler::*post)(Scheduler::Work));
  static void RunBurst(const std::shared_ptr<Queue>& queue);
  std::shared_ptr<Queue> queue_;
};

// Runs body(0 .. count - 1) on the pool and the calling thread, and returns when all are done. The caller takes part,
// so calling it from a pool task cannot deadlock.
void ParallelFor(Scheduler* scheduler, size_t width, size_t count, const std::function<void(size_t)>& body);

}  // namespace evoke
