// Threads of one thread: functions that run on stacks of their own and give way to each other when they say so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace evoke::testing {

// `count` fibers, each of which runs the same body once. Not thread-safe: all of it belongs to one thread.
class Fibers {
 public:
  explicit Fibers(uint32_t count);
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // Makes all of them ready to run `body` from its beginning. Requires: none is in the middle of one.
  void Begin(const std::function<void()>& body);
  // Runs fiber `i` until it calls Yield or its body returns; true when it has returned.
  bool Resume(uint32_t i);
  // Called by the running fiber: back to whoever resumed it.
  void Yield();
  uint32_t current() const { return current_; }

 private:
  struct Fiber;
  static void Enter(Fibers* fibers);

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::unique_ptr<Fiber> main_;
  const std::function<void()>* body_ = nullptr;
  uint32_t current_ = 0;
};

}  // namespace evoke::testing
