#include "server/engine/mailbox.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

// About what a full turn takes; a client that comes back sooner is refused again and backs off by itself.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(50);

absl::Status Full(const std::string& message, const char* field, uint64_t observed, uint64_t limit) {
  return MakeError(absl::StatusCode::kResourceExhausted, message,
                   {.reason = "MAILBOX_FULL",
                    .metadata = {{"field", field},
                                 {"observed", absl::StrCat(observed)},
                                 {"limit", absl::StrCat(limit)}},
                    .retry_delay = kRetryDelay});
}

// What is counted in one unit: all that waits, and what of it is the client's.
struct Load {
  const char* unit;
  uint64_t limit;
  uint64_t all;
  uint64_t clients;
  uint64_t more;
};

absl::Status RefusalOf(const std::string& memory, const Load& load) {
  if (load.all + load.more > load.limit) {
    return Full(absl::StrCat("the mailbox of memory \"", memory, "\" holds ", load.all, " ", load.unit, ", ", load.more,
                             " more exceed ", load.limit),
                load.unit, load.all + load.more, load.limit);
  }
  const uint64_t share = load.limit - load.all;
  if (load.clients > 0 && load.clients + load.more > share) {
    return Full(absl::StrCat("the client has ", load.clients, " ", load.unit, " waiting for memory \"", memory, "\", ",
                             load.more, " more exceed its share: the ", share, " of ", load.limit,
                             " that are left free"),
                load.unit, load.clients + load.more, share);
  }
  return absl::OkStatus();
}

}  // namespace

Mailbox::LineKey Mailbox::KeyOf(const Task& task) {
  const MutationId* mutation = task.mutation();
  return mutation != nullptr ? LineKey(mutation->session, 0) : LineKey(SessionId(), task.client);
}

absl::Status Mailbox::Refusal(const std::string& memory, const Task& task) const {
  if (rows_ == 0) return absl::OkStatus();
  const auto it = clients_.find(task.client);
  const Client client = it == clients_.end() ? Client() : it->second;
  absl::Status rows = RefusalOf(memory, {.unit = "rows",
                                         .limit = options_.rows,
                                         .all = rows_,
                                         .clients = client.rows,
                                         .more = task.mailbox_rows()});
  if (!rows.ok()) return rows;
  return RefusalOf(memory, {.unit = "bytes",
                            .limit = options_.bytes,
                            .all = bytes_,
                            .clients = client.bytes,
                            .more = task.mailbox_bytes()});
}

void Mailbox::Count(const Task& task) {
  Client& client = clients_[task.client];
  client.rows += task.mailbox_rows();
  client.bytes += task.mailbox_bytes();
  rows_ += task.mailbox_rows();
  bytes_ += task.mailbox_bytes();
}

void Mailbox::Discount(const Task& task) {
  const auto it = clients_.find(task.client);
  it->second.rows -= task.mailbox_rows();
  it->second.bytes -= task.mailbox_bytes();
  if (it->second.rows == 0 && it->second.lines == 0) clients_.erase(it);
  rows_ -= task.mailbox_rows();
  bytes_ -= task.mailbox_bytes();
}

// The stamp is of the end, not of the beginning: else a client with a session for each of its calls would be ahead of
// everybody with all of them, for each of its lines would be new.
void Mailbox::Stamp(const LineKey& key, Line* line, uint64_t from) {
  line->arrival = line->tasks.front().first;
  line->stamp = from + line->tasks.front().second.mailbox_rows() * clients_[line->client].lines;
  order_.emplace(line->stamp, line->arrival, key);
}

void Mailbox::Push(Task task) {
  Count(task);
  const LineKey key = KeyOf(task);
  const uint64_t client = task.client;
  std::unique_ptr<Line>& line = lines_[key];
  const bool first = line == nullptr;
  if (first) line = std::make_unique<Line>();
  line->tasks.emplace_back(++arrivals_, std::move(task));
  if (!first) return;
  line->client = client;
  ++clients_[client].lines;
  Stamp(key, line.get(), now_);
}

Task Mailbox::TakeFirst() {
  const LineKey key = std::get<2>(*order_.begin());
  order_.erase(order_.begin());
  const auto it = lines_.find(key);
  Line& line = *it->second;
  now_ = line.stamp;
  Task task = std::move(line.tasks.front().second);
  line.tasks.pop_front();
  if (!line.tasks.empty()) {
    Stamp(key, &line, line.stamp);
    Discount(task);
    return task;
  }
  // The line's client is that of its first task ever; the tasks after it may have come by another connection.
  const auto client = clients_.find(line.client);
  if (--client->second.lines == 0 && client->second.rows == 0) clients_.erase(client);
  lines_.erase(it);
  Discount(task);
  if (lines_.empty()) now_ = 0;
  return task;
}

std::vector<Task> Mailbox::TakeTurn(absl::FunctionRef<bool(Task&)> enters) {
  std::vector<Task> turn;
  uint64_t rows = 0;
  uint32_t mutations = 0;
  while (due()) {
    const Task& next = lines_.at(std::get<2>(*order_.begin()))->tasks.front().second;
    const uint64_t task_rows = next.mailbox_rows();
    const bool alone = next.alone();
    if (!turn.empty() && (alone || rows + task_rows > options_.turn_rows || mutations >= options_.turn_mutations)) break;
    Task task = TakeFirst();
    if (!enters(task)) continue;
    rows += task_rows;
    mutations += task.mutation() != nullptr;
    turn.push_back(std::move(task));
    if (alone) break;
  }
  return turn;
}

std::vector<Task> Mailbox::TakeDue() {
  std::vector<Task> all;
  while (due()) all.push_back(TakeFirst());
  return all;
}

void Mailbox::Park(Task task) {
  Count(task);
  parked_.push_back(std::move(task));
}

std::vector<Task> Mailbox::TakeParked(absl::FunctionRef<bool(const Task&)> which) {
  const auto it = std::stable_partition(parked_.begin(), parked_.end(), [&](const Task& t) { return !which(t); });
  std::vector<Task> taken(std::make_move_iterator(it), std::make_move_iterator(parked_.end()));
  parked_.erase(it, parked_.end());
  for (const Task& task : taken) Discount(task);
  return taken;
}

void Mailbox::Unpark(Turn turn) {
  for (Task& task : TakeParked([&](const Task& t) { return t.min_turn <= turn.value; })) Push(std::move(task));
}

}  // namespace evoke
