// The turns behind the one at hand: decided, applied to the shards, and not durable yet. Everything that is to be known
// of them waits here.
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/engine/engine.h"
#include "server/engine/slow_turns.h"
#include "server/engine/turn_work.h"

namespace evoke {

void Engine::Tell(std::function<void()> answer) {
  if (in_flight_.empty()) return answer();
  work_->held.push_back(std::move(answer));
}

void Engine::TellInCommit(std::function<void()> answer) {
  if (!work_->admitted) return Tell(std::move(answer));
  work_->reads.push_back(std::move(answer));
}

void Engine::TellReads() {
  for (auto& answer : std::exchange(work_->reads, {})) Tell(std::move(answer));
}

void Engine::Leave() {
  TellReads();  // where there was nothing to commit after all
  work_->after = state_;
  const Next next = std::move(work_->next_turn);
  in_flight_.push_back(std::move(work_));
  next();
  Settle();
}

// The log tells the turns in their order, so those before it were durable when this one is.
void Engine::Logged(TurnWork* turn, const absl::Status& status) {
  turn->logged = true;
  turn->report.phases[static_cast<int>(Phase::kCommit)] += clock_->Now() - turn->handed_over;
  if (failed_.ok()) failed_ = status;
  if (failed_.ok()) Acknowledge(turn);
  Settle();
}

// Perhaps before it is applied: the next turn asks the shards after the Apply, in their order.
void Engine::Acknowledge(TurnWork* turn) {
  At(TurnEdge::kCommitted);
  for (TurnWork::Item& item : turn->items) {
    const bool wrote = item.kind == TurnWork::Kind::kObserve || item.kind == TurnWork::Kind::kClear ||
                       item.kind == TurnWork::Kind::kImport;
    if (wrote) item.task.Reply(item.reply);
    if (item.kind == TurnWork::Kind::kRefused) item.task.Fail(item.refusal);
  }
  for (TurnWork::Item& item : turn->items) {
    if (item.kind != TurnWork::Kind::kRetryInTurn) continue;
    for (const TurnWork::Item& first : turn->items) {
      if ((first.kind == TurnWork::Kind::kObserve || first.kind == TurnWork::Kind::kClear) &&
          first.task.mutation()->session == item.task.mutation()->session &&
          first.task.mutation()->number == item.task.mutation()->number) {
        item.task.Reply(first.reply);
      }
    }
  }
  At(TurnEdge::kAcknowledged);
}

void Engine::Settle() {
  while (!in_flight_.empty() && in_flight_.front()->logged && failed_.ok()) {
    const std::unique_ptr<TurnWork> turn = std::move(in_flight_.front());
    in_flight_.pop_front();
    durable_ = turn->after;
    Report(turn.get());
    TellIfSlow(*turn);
    turn->done(absl::OkStatus());
    TurnWork* const after = in_flight_.empty() ? work_.get() : in_flight_.front().get();
    if (after == nullptr) continue;
    for (const auto& answer : std::exchange(after->held, {})) answer();
  }
  if (in_flight_.empty() && work_ != nullptr && work_->waits && failed_.ok()) return SendReads();

  const bool stuck = work_ != nullptr && work_->stuck;
  if (failed_.ok() && !(stuck && in_flight_.empty())) return;
  // The callbacks that are under way need this engine.
  for (const auto& turn : in_flight_) {
    if (!turn->logged) return;
  }
  if (work_ != nullptr && !(work_->logged && (stuck || work_->waits))) return;
  Fail(failed_.ok() ? work_->error : failed_);
}

void Engine::Fail(const absl::Status& why) {
  At(TurnEdge::kFailed);
  const absl::Status cause = why;
  const absl::Status unknown = MakeError(
      absl::StatusCode::kUnavailable,
      absl::StrCat("the outcome is not known until the memory is reloaded; retry with the same number (", cause.message(),
                   ")"),
      {.reason = "COMMIT_UNKNOWN", .retry_delay = absl::Milliseconds(100)});
  // The memory stops serving before anybody hears of it, so that a retry cannot meet the old state. From `done` on
  // this engine may be gone: only what is here is touched.
  std::deque<std::unique_ptr<TurnWork>> turns = std::move(in_flight_);
  if (work_ != nullptr) turns.push_back(std::move(work_));
  turns.front()->done(cause);
  for (const auto& turn : turns) {
    for (TurnWork::Item& item : turn->items) item.task.Fail(unknown);
  }
}

void Engine::TellIfSlow(const TurnWork& turn) const {
  if (options_.slow_turns == nullptr) return;
  const absl::Time now = clock_->Now();
  if (!options_.slow_turns->IsSlow(now - turn.began)) return;
  std::vector<const Task*> tasks;
  for (const TurnWork::Item& item : turn.items) tasks.push_back(&item.task);
  options_.slow_turns->Tell(
      {.memory = turn.after.name.memory, .took = now - turn.began, .report = turn.report, .tasks = std::move(tasks)}, now);
}

void Engine::Report(TurnWork* turn) {
  TurnReport& report = turn->report;
  report.turn = turn->after.name.turn;
  report.step = turn->after.name.step;
  report.live_count = turn->after.live_count;
  report.distinct_values = turn->after.distinct_values;
  if (probe_ == nullptr) return;
  for (const TurnWork::Item& item : turn->items) {
    if (item.plan == nullptr) continue;
    const ObserveCall& call = std::get<ObserveCall>(item.task.call);
    const BatchResult& result = item.plan->result();
    const BatchFigures& figures = item.plan->figures();
    for (uint32_t r = 0; r < result.rows && call.writes(); ++r) report.outcomes[static_cast<int>(result.outcomes[r])]++;
    report.evictions.insert(report.evictions.end(), figures.evictions.begin(), figures.evictions.end());
    report.key_drifts.insert(report.key_drifts.end(), figures.key_drifts.begin(), figures.key_drifts.end());
    for (uint32_t r = 0; r < result.rows && call.form != ObserveForm::kOutcomes; ++r) {
      if (item.view_row[r] == BatchRows::kSkipped) continue;
      report.scored.push_back({.answered = result.answered[r] != 0,
                               .correct = result.answered[r] && result.values[r] == call.values[r],
                               .written = call.write[r] != 0,
                               .seen = figures.seen[r],
                               .confidence = result.confidences[r],
                               .loss = result.losses[r],
                               .positive_found = result.positive_found[r] != 0,
                               .negative_found = result.negative_found[r] != 0});
    }
  }
  probe_->OnTurn(report);
}

}  // namespace evoke
