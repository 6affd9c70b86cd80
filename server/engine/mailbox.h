// The tasks that wait for a memory, and which of them share its next turn: bounded, and fair between clients.
//
// Tasks stand in *lines*, first come first served: the mutations of a session are a line, the reads of a client are
// one. A turn is filled row by row in turn of the clients that have lines, and a client's rows go to its lines alike;
// so the next turn has a row of everybody's for each row of the greediest, however many calls or sessions that has.
// (Self-clocked fair queueing: a line's first task is stamped with the rows at which it would end if the lines had
// been served side by side, and the smallest stamp goes first.) A line keeps its order whatever connection its tasks
// came by, so the numbers of a session stay in order.
//
// Full means rows or bytes. A client that has something waiting may never hold more than it leaves free, which keeps
// room for whoever comes next: one client alone gets half of the mailbox, n of them 1 / (n + 1) each.
//
// Thread-compatible. Failure: a task that is refused is not taken. Cost: O(log lines) a task.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/engine/task.h"

namespace evoke {

class Mailbox {
 public:
  struct Options {
    uint64_t rows = 65536;                  // that may wait
    uint64_t bytes = uint64_t{256} << 20;   // that may wait: floats, values and payloads
    uint32_t turn_rows = 4096;              // that one turn takes; a task with more is alone in its turn
    uint32_t turn_mutations = 1023;         // that one turn takes
  };
  explicit Mailbox(const Options& options) : options_(options) {}

  // OK: the task may be pushed. RESOURCE_EXHAUSTED / MAILBOX_FULL with both numbers and a delay when it exceeds what
  // is left, of the whole or of its client's share; what is alone in the mailbox is never refused. `memory` is its name.
  absl::Status Refusal(const std::string& memory, const Task& task) const;
  void Push(Task task);

  // Takes the next turn. `enters` is asked once for each task that is due; where it says no, it has taken the task
  // over. A Clear is alone. Empty: nothing is due.
  std::vector<Task> TakeTurn(absl::FunctionRef<bool(Task&)> enters);
  // Everything in line, in no order that matters; parked tasks stay.
  std::vector<Task> TakeDue();

  // A task that waits for its min_turn: it counts as before, but is in no line.
  void Park(Task task);
  // Parked tasks that `which` says yes to.
  std::vector<Task> TakeParked(absl::FunctionRef<bool(const Task&)> which);
  // Those that required at most this turn are in line again.
  void Unpark(Turn turn);

  bool due() const { return !order_.empty(); }
  uint64_t rows() const { return rows_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Line {
    uint64_t client = 0;      // of its first task
    uint64_t stamp = 0;       // of its first task
    uint64_t arrival = 0;     // of its first task; breaks ties
    std::deque<std::pair<uint64_t, Task>> tasks;  // with their arrival
  };
  struct Client {
    uint64_t lines = 0;
    uint64_t rows = 0;
    uint64_t bytes = 0;
  };
  using LineKey = std::pair<SessionId, uint64_t>;

  static LineKey KeyOf(const Task& task);
  void Stamp(const LineKey& key, Line* line, uint64_t from);
  Task TakeFirst();
  void Count(const Task& task);
  void Discount(const Task& task);

  const Options options_;
  absl::flat_hash_map<LineKey, std::unique_ptr<Line>> lines_;  // none is empty
  std::set<std::tuple<uint64_t, uint64_t, LineKey>> order_;    // stamp, arrival: of every line
  absl::flat_hash_map<uint64_t, Client> clients_;              // that have anything waiting
  std::vector<Task> parked_;
  uint64_t now_ = 0;        // stamp of the task that was taken last
  uint64_t arrivals_ = 0;
  uint64_t rows_ = 0;       // of lines_ and parked_, as bytes_
  uint64_t bytes_ = 0;
};

}  // namespace evoke
