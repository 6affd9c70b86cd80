// The writing half of a turn: decide in arrival order, one record, handed to the log and to the shards.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/engine/engine.h"
#include "server/engine/turn_work.h"
#include "server/memory/state_hash.h"

namespace evoke {
namespace {

WriteKind KindOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kHit:
      return WriteKind::kHit;
    case Outcome::kMerged:
      return WriteKind::kMerged;
    case Outcome::kFolded:
      return WriteKind::kFolded;
    case Outcome::kEvict:
      return WriteKind::kEvict;
    default:
      return WriteKind::kFree;
  }
}

}  // namespace

// --- decide --------------------------------------------------------------------------------------------------------

bool Engine::ResolvePlan(size_t index, Need* need) {
  TurnWork::Item& item = work_->items[index];
  const ObserveCall& call = std::get<ObserveCall>(item.task.call);
  if (item.plan == nullptr) {
    BatchRows rows{.view_row = item.view_row,
                   .values = call.values,
                   .write = call.write,
                   .norms = call.rows.norms,
                   .payloads = call.payloads,
                   .form = call.form,
                   .confidence_gradient = call.confidence_gradient};
    item.plan = std::make_unique<BatchPlan>(&spec_, &RuleOf(spec_.write_rule), std::move(rows), work_->view->step(),
                                            /*batch=*/index + 1);
  }
  return item.plan->Resolve(work_->view.get(), need);
}

void Engine::Decide() {
  At(TurnEdge::kDeciding);
  const absl::Time began = clock_->Now();
  for (size_t i = 0; i < work_->items.size(); ++i) {
    TurnWork::Item& item = work_->items[i];
    if (item.kind == TurnWork::Kind::kImport && !AdmitImport(i)) item.kind = TurnWork::Kind::kAnswered;
    if (item.kind != TurnWork::Kind::kObserve || item.resolved) continue;
    Need need;
    item.resolved = ResolvePlan(i, &need);
    if (!item.resolved) {
      work_->report.phases[static_cast<int>(Phase::kDecide)] += clock_->Now() - began;
      return AskShards(need, &Engine::Decide);
    }
  }
  if (!work_->mutates()) return Leave();
  BuildRecord();
  work_->report.phases[static_cast<int>(Phase::kDecide)] += clock_->Now() - began;
  HandOver();
}

// --- the record ----------------------------------------------------------------------------------------------------

StateName Engine::NameAfter(Step step) const {
  StateName name = state_.name;
  name.turn = work_->turn;
  name.step = step;
  if (work_->record->admin == AdminOp::kClear) name.epoch = name.epoch.Next();
  return name;
}

void Engine::BuildRecord() {
  work_->record = std::make_shared<TurnRecord>();
  TurnRecord& record = *work_->record;
  record.uid = state_.name.uid;
  record.epoch = state_.name.epoch;
  record.term = state_.name.term;
  record.turn = work_->turn;
  record.previous_chain = state_.chain;
  record.step_before = state_.name.step;
  record.step_after = work_->view->step();
  record.state_hash = state_.state_hash;
  record.live_after = work_->view->live();
  for (size_t i = 0; i < work_->items.size(); ++i) {
    TurnWork::Item& item = work_->items[i];
    if (item.kind == TurnWork::Kind::kClear) {
      ClearAll(i);
    } else if (item.kind == TurnWork::Kind::kImport) {
      ImportRows(i);
    } else if (item.kind == TurnWork::Kind::kObserve) {
      const ObserveCall& call = std::get<ObserveCall>(item.task.call);
      ObserveReply reply{std::move(item.plan->result()), NameAfter(item.plan->step_after())};
      item.reply = call.encode(reply);
      sessions_.Complete(*call.mutation, item.reply, &work_->ops);
      item.plan->result() = std::move(reply);  // for the report
    }
  }
  sessions_.EndTurn(work_->turn, &work_->ops);
  record.sessions = std::move(work_->ops);
  WriteSlots();
  work_->chain = EncodeTurnRecord(record).chain;
}

void Engine::ClearAll(size_t index) {
  TurnWork::Item& item = work_->items[index];
  const ClearCall& call = std::get<ClearCall>(item.task.call);
  TurnRecord& record = *work_->record;
  record.admin = AdminOp::kClear;
  record.state_hash = {};
  record.live_after = 0;
  const ClearReply reply{.state = NameAfter(state_.name.step), .freed_slots = state_.live_count};
  record.epoch = reply.state.epoch;
  item.reply = call.encode(reply);
  sessions_.Complete(call.mutation, item.reply, &work_->ops);
}

void Engine::WriteSlots() {
  TurnRecord& record = *work_->record;
  if (record.admin != AdminOp::kNone) return;  // its writes are in the record already
  work_->effects = work_->view->TakeEffects();
  for (auto& [slot, p] : work_->effects.slots) {
    record.state_hash -= p.hash_before;
    record.state_hash += SlotHash(slot, p.value, p.written_step, p.hits, p.key);
    SlotWrite write{.slot = SlotId(slot),
                    .kind = KindOf(p.outcome),
                    .value = p.value,
                    .written_step = Step(p.written_step),
                    .hits = p.hits,
                    .key = options_.apply_lag_turns > 0 ? p.key : std::move(p.key)};
    for (PendingPayload& row : p.payloads) write.payloads.push_back({row.place, Step(row.step), std::move(row.bytes)});
    std::sort(write.payloads.begin(), write.payloads.end(),
              [](const PayloadRow& a, const PayloadRow& b) { return a.place < b.place; });
    record.writes.push_back(std::move(write));
  }
  std::sort(record.writes.begin(), record.writes.end(),
            [](const SlotWrite& a, const SlotWrite& b) { return a.written_step < b.written_step; });
}

// --- hand over -------------------------------------------------------------------------------------------------------

// The commit first, so that it never waits for the rest.
void Engine::HandOver() {
  At(TurnEdge::kDecided);
  work_->logged = false;
  work_->handed_over = clock_->Now();
  log_->Append(work_->record, [this, turn = work_.get()](absl::Status status) {
    strand_->Post([this, turn, status = std::move(status)] { Logged(turn, status); });
  });
  At(TurnEdge::kCommitting);
  Begin(&Engine::Applied, Phase::kApply);
  CountEvicted();
  unapplied_.push_back({.record = work_->record});
  while (unapplied_.size() > (work_->record->admin == AdminOp::kNone ? options_.apply_lag_turns : 0)) {
    shards_turn_ = unapplied_.front().record->turn;
    shards_->Apply(unapplied_.front().record, ExpectStatus());
    unapplied_.pop_front();
  }
  TellReads();
  Ready();
}

// For the figures alone: how many live slots the evicted values had. Asked before the Apply, so of the state at the turn's
// start.
void Engine::CountEvicted() {
  ProposeRequest request{.at = ShardPoint(), .rows = work_->rows};
  for (const TurnWork::Item& item : work_->items) {
    if (item.kind != TurnWork::Kind::kObserve) continue;
    for (const Eviction& eviction : item.plan->figures().evictions) {
      if (work_->counted.insert(eviction.old_value).second) request.count_values.push_back(eviction.old_value);
    }
  }
  if (request.count_values.empty()) return;
  shards_->Propose(request, Expect<std::vector<Proposal>>([this](std::vector<Proposal> proposals) {
                     for (const Proposal& p : proposals) {
                       for (const ValueCount& count : p.counts) work_->view->AddCount(count);
                     }
                   }));
}

void Engine::Applied() {
  TakeState();
  if (!unapplied_.empty()) unapplied_.back().effects = std::move(work_->effects);
  At(TurnEdge::kApplied);
  Leave();
}

void Engine::TakeState() {
  const TurnRecord& record = *work_->record;
  state_.name = NameAfter(record.step_after);
  state_.chain = work_->chain;
  state_.state_hash = record.state_hash;
  state_.live_count = record.live_after;
  state_.sessions = sessions_.count();
  if (record.admin == AdminOp::kClear) state_.distinct_values = 0;
  for (const auto& [value, delta] : work_->effects.count_deltas) {
    const uint64_t before = work_->view->Count(value).live_slots;  // the view no longer holds this turn's deltas
    const uint64_t after = before + delta.first;
    state_.distinct_values += (before == 0 && after > 0) - (before > 0 && after == 0);
    work_->report.last_slots_evicted += before > 0 && after == 0;
  }
  work_->report.committed = true;
}

}  // namespace evoke
