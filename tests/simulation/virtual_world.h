// Time, chance and threads of a simulation: one queue of work on one thread, in an order that a seed decides.
//
//   world.After(delay, work); while (world.RunOne()) ...
//
// Of the work that is due any piece may be next, so completions arrive in every order; time passes only when
// nothing is due. Whatever happens is folded into a trace: equal seeds have equal traces, and so equal
// histories. Thread-compatible; nothing here knows of threads.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {

class VirtualWorld {
 public:
  using Work = std::function<void()>;
  // Whose work it is: that of a dead process is buried. 0 is the world itself: clients, network, fate.
  using Owner = uint64_t;

  explicit VirtualWorld(uint64_t seed) : bits_(seed) {}

  absl::Time now() const { return now_; }
  RandomBits& bits() { return bits_; }

  void At(absl::Time when, Work work, Owner owner = 0) {
    queue_.push_back({when, next_id_++, owner, std::move(work)});
  }
  void After(absl::Duration delay, Work work, Owner owner = 0) { At(now_ + delay, std::move(work), owner); }
  // 0 to `most`: any of it, more often little.
  absl::Duration RandomDelay(absl::Duration most);

  // Runs one piece of due work, after moving the time on when there is none. False when nothing is left at
  // all.
  bool RunOne();
  // Runs what `owner` has left in order, with what it posts meanwhile.
  void RunAllOf(Owner owner);
  // Forgets what `owner` has left.
  void Drop(Owner owner);

  // What happened, for the trace and for whoever reads of a failure.
  void Note(const std::string& what);
  uint64_t trace() const { return trace_; }
  uint64_t pieces_run() const { return pieces_run_; }
  // The last notes, one a line.
  std::string Story() const;

 private:
  struct Piece {
    absl::Time when;
    uint64_t id;
    Owner owner;
    Work work;
  };
  Work Take(size_t index);
  void Fold(uint64_t number);

  RandomBits bits_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::vector<Piece> queue_;  // some dozens: searched, not ordered
  uint64_t next_id_ = 1;
  uint64_t trace_ = 0;
  uint64_t pieces_run_ = 0;
  std::deque<std::string> notes_;
};

// One of the choices, all alike.
template <typename T>
T OneOf(RandomBits& bits, std::initializer_list<T> choices) {
  return choices.begin()[bits.Below(choices.size())];
}

}  // namespace evoke::testing
