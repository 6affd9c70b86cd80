#include "server/base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

namespace evoke {
namespace {

// Of the thread: whose worker it is, and the successor of the task that it runs.
thread_local const ThreadPool* worker_of = nullptr;
thread_local Scheduler::Work last;

}  // namespace

ThreadPool::ThreadPool(const char* name, size_t thread_count) {
  for (size_t i = 0; i < std::max<size_t>(thread_count, 1); ++i) {
    threads_.emplace_back([this] { Run(); });
    const std::string thread_name = std::string(name) + "-" + std::to_string(i);
    pthread_setname_np(threads_.back().native_handle(), thread_name.substr(0, 15).c_str());
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.SignalAll();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Post(Work work) {
  // Signalled under the lock: the work may be what lets an owner destroy the pool, while this call is still in here.
  MutexLock lock(&mu_);
  queue_.push_back(std::move(work));
  wake_.Signal();
}

void ThreadPool::PostLast(Work work) {
  if (worker_of != this || last) return Post(std::move(work));
  last = std::move(work);
}

bool ThreadPool::HasLast() const { return worker_of == this && last; }

void ThreadPool::Run() {
  worker_of = this;
  while (true) {
    Work work = std::exchange(last, nullptr);
    if (!work) {
      MutexLock lock(&mu_);
      while (queue_.empty() && !stopping_) wake_.Wait(&mu_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

Strand::Strand(Scheduler* scheduler) : queue_(std::make_shared<Queue>()) { queue_->scheduler = scheduler; }

void Strand::Add(Scheduler::Work work, void (Scheduler::*post)(Scheduler::Work)) {
  {
    MutexLock lock(&queue_->mu);
    queue_->work.push_back(std::move(work));
    if (queue_->running) return;
    queue_->running = true;
  }
  (queue_->scheduler->*post)([queue = queue_] { RunBurst(queue); });
}

void Strand::RunBurst(const std::shared_ptr<Queue>& queue) {
  // A burst is bounded, so that one busy strand does not keep a worker for ever, and ends where a successor waits for it.
  constexpr int kBurst = 16;
  for (int i = 0;; ++i) {
    Scheduler::Work work;
    {
      MutexLock lock(&queue->mu);
      if (queue->work.empty()) {
        queue->running = false;
        return;
      }
      if (i == kBurst || queue->scheduler->HasLast()) break;
      work = std::move(queue->work.front());
      queue->work.pop_front();
    }
    work();
  }
  queue->scheduler->Post([queue] { RunBurst(queue); });
}

void ParallelFor(Scheduler* scheduler, size_t width, size_t count, const std::function<void(size_t)>& body) {
  struct State {
    const std::function<void(size_t)>* body;
    size_t count;
    std::atomic<size_t> next{0};
    Mutex mu;
    CondVar finished;
    size_t done ABSL_GUARDED_BY(mu) = 0;
  };
  auto state = std::make_shared<State>();
  state->body = &body;
  state->count = count;
  // A helper that starts after all indices are taken touches nothing but `state`, which it keeps alive.
  auto work = [](const std::shared_ptr<State>& s) {
    for (size_t i; (i = s->next.fetch_add(1, std::memory_order_relaxed)) < s->count;) {
      (*s->body)(i);
      MutexLock lock(&s->mu);
      if (++s->done == s->count) s->finished.SignalAll();
    }
  };
  for (size_t i = 1; i < std::min(width, count); ++i) scheduler->Post([state, work] { work(state); });
  work(state);
  MutexLock lock(&state->mu);
  while (state->done < count) state->finished.Wait(&state->mu);
}

}  // namespace evoke
