#include "server/engine/slow_turns.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace evoke {
namespace {

constexpr double kBurst = 10;
constexpr double kLinesPerSecond = 1;
// Of a turn's requests, those with the most rows: who made it long is among them.
constexpr size_t kRequestsNamed = 8;

constexpr LogKey kPhaseKeys[kPhaseCount] = {LogKey::kQueueSeconds,  LogKey::kProposeSeconds, LogKey::kMoreSeconds,
                                            LogKey::kFetchSeconds,  LogKey::kDecideSeconds,  LogKey::kCommitSeconds,
                                            LogKey::kApplySeconds,  LogKey::kReplySeconds};

std::vector<const Task*> Largest(std::vector<const Task*> tasks) {
  const size_t count = std::min(tasks.size(), kRequestsNamed);
  std::partial_sort(tasks.begin(), tasks.begin() + count, tasks.end(),
                    [](const Task* a, const Task* b) { return a->mailbox_rows() > b->mailbox_rows(); });
  tasks.resize(count);
  return tasks;
}

}  // namespace

std::optional<uint64_t> SlowTurns::Admit(absl::Time now) {
  MutexLock lock(&mu_);
  const double passed = granted_ == absl::InfinitePast() ? 0 : absl::ToDoubleSeconds(now - granted_);
  allowance_ = std::min(kBurst, allowance_ + std::max(0.0, passed) * kLinesPerSecond);
  granted_ = now;
  if (allowance_ < 1) {
    ++left_out_;
    return std::nullopt;
  }
  allowance_ -= 1;
  return std::exchange(left_out_, 0);
}

void SlowTurns::Tell(const SlowTurn& turn, absl::Time now) {
  const std::optional<uint64_t> left_out = Admit(now);
  if (!left_out) return;
  std::vector<LogField> fields = {{LogKey::kMemory, turn.memory},
                                  {LogKey::kTurn, turn.report.turn.value},
                                  {LogKey::kSeconds, turn.took},
                                  {LogKey::kCommitted, turn.report.committed},
                                  {LogKey::kRows, turn.report.rows},
                                  {LogKey::kTasks, turn.report.tasks}};
  // All of them, zeros too: lines that always have the same fields can be made a table of.
  for (int phase = 0; phase < kPhaseCount; ++phase) fields.emplace_back(kPhaseKeys[phase], turn.report.phases[phase]);
  std::vector<std::string> ids, mutations;
  std::string trace_id;
  for (const Task* task : Largest(turn.tasks)) {
    if (task->tag != nullptr) {
      ids.push_back(task->tag->request_id);
      if (trace_id.empty()) trace_id = task->tag->trace_id;
    }
    if (const MutationId* mutation = task->mutation())
      mutations.push_back(absl::StrCat(mutation->session.ToString(), ":", mutation->number));
  }
  fields.emplace_back(LogKey::kRequestIds, std::move(ids));
  fields.emplace_back(LogKey::kMutations, std::move(mutations));
  if (!trace_id.empty()) fields.emplace_back(LogKey::kTraceId, trace_id);
  if (*left_out > 0) fields.emplace_back(LogKey::kSuppressed, *left_out);
  Log(LogLevel::kWarn, "slow turn", fields);
}

}  // namespace evoke
