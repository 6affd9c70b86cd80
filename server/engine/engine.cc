#include "server/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/errors.h"
#include "server/engine/merge.h"
#include "server/engine/turn_work.h"

namespace evoke {
namespace {

absl::Status StaleEpoch(uint64_t required, Epoch epoch) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("the memory is at epoch ", epoch.value, ", the request requires ", required),
                   {.reason = "STALE_MEMORY", .metadata = {{"epoch", absl::StrCat(epoch.value)}}});
}

}  // namespace

Engine::Engine(Parts parts)
    : spec_(parts.spec),
      options_(parts.options),
      shards_(std::move(parts.shards)),
      store_(parts.store),
      log_(parts.log),
      strand_(parts.strand),
      io_(parts.io),
      clock_(parts.clock),
      probe_(parts.probe),
      state_(std::move(parts.state)),
      sessions_(std::move(parts.sessions)),
      shards_turn_(state_.name.turn) {
  state_.sessions = sessions_.count();
  durable_ = state_;
}

Engine::~Engine() = default;

// --- completions ---------------------------------------------------------------------------------------------------

void Engine::Begin(Stage next, Phase phase) {
  work_->next = next;
  work_->phase = phase;
  work_->phase_began = clock_->Now();
  work_->outstanding = 1;  // Ready takes it away
}

std::function<void(absl::Status)> Engine::ExpectStatus() {
  ++work_->outstanding;
  return [this](absl::Status status) {
    strand_->PostLast([this, status = std::move(status)] { Arrived(status); });
  };
}

void Engine::Ready() { Arrived(absl::OkStatus()); }

void Engine::Arrived(const absl::Status& status) {
  if (!status.ok() && work_->error.ok()) work_->error = status;
  if (--work_->outstanding > 0) return;
  work_->report.phases[static_cast<int>(work_->phase)] += clock_->Now() - work_->phase_began;
  work_->stuck = !work_->error.ok() || !failed_.ok();
  if (work_->stuck) return Settle();
  (this->*work_->next)();
}

void Engine::Audit(AuditRequest request, Shard::Done<AuditAnswer> done) {
  // The store would be ahead of shards that are late.
  if (!unapplied_.empty()) return done(AuditAnswer());
  request.at = ShardPoint();
  shards_->Audit(std::move(request), std::move(done));
}

// --- admission -----------------------------------------------------------------------------------------------------

void Engine::RunTurn(std::vector<Task> tasks, Next next, Done done) {
  EVOKE_CHECK(work_ == nullptr);
  work_ = std::make_unique<TurnWork>();
  work_->next_turn = std::move(next);
  work_->done = std::move(done);
  work_->turn = state_.name.turn.Next();
  work_->began = clock_->Now();
  for (Task& task : tasks) {
    work_->report.tasks += 1;
    work_->report.rows += task.mailbox_rows();
    auto& waited = work_->report.phases[static_cast<int>(Phase::kQueue)];
    waited = std::max(waited, work_->began - task.submitted);
    work_->items.push_back({.task = std::move(task)});
  }
  // What failed waits for the last commit under way, and this turn shares its fate.
  work_->stuck = !failed_.ok();
  if (!work_->stuck) AdmitAll();
}

void Engine::AdmitAll() {
  bool flush = false;
  for (size_t i = 0; i < work_->items.size(); ++i) {
    if (!Admit(i)) continue;
    const auto kind = work_->items[i].kind;
    flush |= kind == TurnWork::Kind::kSlots || kind == TurnWork::Kind::kClear || kind == TurnWork::Kind::kImport;
  }
  At(TurnEdge::kAdmitted);
  // Slots are read from the shards as they are, and Clear and Import have nothing to lay over them: no lag then.
  Begin(&Engine::PackAndPropose, Phase::kApply);
  if (flush) {
    for (const Unapplied& u : unapplied_) {
      shards_->Apply(u.record, ExpectStatus());
      shards_turn_ = u.record->turn;
    }
    unapplied_.clear();
  }
  Ready();
}

bool Engine::Admit(size_t index) {
  TurnWork::Item& item = work_->items[index];
  Task& task = item.task;
  const MutationId* mutation = task.mutation();
  // A retry is answered even when the epoch that it required is over: it was right when it was applied.
  const bool retry = mutation != nullptr && sessions_.Knows(*mutation);
  if (task.epoch && *task.epoch != state_.name.epoch.value && !retry) {
    Tell([&task, status = StaleEpoch(*task.epoch, state_.name.epoch)] { task.Fail(status); });
    return false;
  }
  if (std::holds_alternative<ImportCall>(task.call) && !retry) {
    item.kind = TurnWork::Kind::kImport;  // its session admits it once it is known that its slots are free
    return true;
  }
  if (mutation != nullptr) return AdmitMutation(index, *mutation);
  item.kind = std::holds_alternative<QueryCall>(task.call)     ? TurnWork::Kind::kQuery
              : std::holds_alternative<SlotsCall>(task.call)   ? TurnWork::Kind::kSlots
              : std::holds_alternative<ReaderCall>(task.call)  ? TurnWork::Kind::kReader
              : std::holds_alternative<InspectCall>(task.call) ? TurnWork::Kind::kInspect
                                                               : TurnWork::Kind::kReadObserve;
  return true;
}

bool Engine::AdmitMutation(size_t index, const MutationId& mutation) {
  TurnWork::Item& item = work_->items[index];
  const absl::StatusOr<Sessions::Verdict> verdict = sessions_.Admit(mutation, work_->turn, &work_->ops);
  if (!verdict.ok()) {
    // Sessions run ahead of the disk: whoever is told of a number as applied must be able to rely on it.
    if (work_->admitted) {
      item.kind = TurnWork::Kind::kRefused;
      item.refusal = verdict.status();
    } else {
      Tell([&item, status = verdict.status()] { item.task.Fail(status); });
    }
    return false;
  }
  switch (*verdict) {
    case Sessions::Verdict::kApply:
      work_->admitted = true;
      item.kind = std::holds_alternative<ClearCall>(item.task.call) ? TurnWork::Kind::kClear : TurnWork::Kind::kObserve;
      return true;
    case Sessions::Verdict::kStored:
      item.kind = TurnWork::Kind::kRetryStored;
      break;
    case Sessions::Verdict::kInTurn:
      item.kind = TurnWork::Kind::kRetryInTurn;
      break;
  }
  ++work_->report.retry_duplicates;
  return true;
}

// --- proposals -----------------------------------------------------------------------------------------------------

ReadPoint Engine::ShardPoint() const { return {state_.name.uid, state_.name.epoch, state_.name.term, shards_turn_}; }

void Engine::PackRows(uint32_t neighbors, RowSet* rows, std::vector<uint32_t>* view_row) {
  PackedRows& packed = *work_->rows;
  packed.dim = spec_.key_dim;
  view_row->reserve(rows->count());
  uint32_t next = packed.count();
  for (uint32_t i = 0; i < rows->count(); ++i) {
    view_row->push_back(rows->skip[i] ? BatchRows::kSkipped : next++);
    if (!rows->skip[i]) work_->request.wants.push_back({.row = next - 1, .neighbors = Ask(neighbors)});
  }
  // Rows of a task alone in its turn lie as they must.
  if (work_->items.size() == 1 && next == rows->count()) {
    packed.data = std::move(rows->unit);
    return;
  }
  for (uint32_t i = 0; i < rows->count(); ++i) {
    const float* row = rows->unit.data() + size_t{i} * rows->dim;
    if (!rows->skip[i]) packed.data.insert(packed.data.end(), row, row + rows->dim);
  }
}

void Engine::PackAndPropose() {
  ProposeRequest& request = work_->request;
  // Slots whose content in the shards is not what a row must see: enough more are asked for, so that no second
  // search is needed.
  uint32_t touched = 0;
  for (const Unapplied& u : unapplied_) touched += static_cast<uint32_t>(u.record->writes.size());
  uint32_t writes = 0;
  for (size_t i = 0; i < work_->items.size(); ++i) {
    TurnWork::Item& item = work_->items[i];
    if (auto* query = std::get_if<QueryCall>(&item.task.call); query && item.kind == TurnWork::Kind::kQuery) {
      const size_t first = request.wants.size();
      PackRows(query->k + touched, &query->rows, &item.view_row);
      for (size_t w = first; query->keys && w < request.wants.size(); ++w) {
        request.wants[w].keys = request.wants[w].neighbors;
      }
      continue;
    }
    auto* call = std::get_if<ObserveCall>(&item.task.call);
    if (call == nullptr || (item.kind != TurnWork::Kind::kObserve && item.kind != TurnWork::Kind::kReadObserve)) continue;
    const size_t first = request.wants.size();
    PackRows(spec_.choose_k + touched + writes, &call->rows, &item.view_row);
    uint32_t own_writes = 0;
    size_t w = first;
    for (uint32_t r = 0; r < call->rows.count(); ++r) {
      if (item.view_row[r] == BatchRows::kSkipped) continue;
      RowWant& want = request.wants[w++];
      if (spec_.batch == BatchMode::kSequential) want.neighbors = Ask(want.neighbors + own_writes);
      want.keys = call->confidence_gradient                    ? want.neighbors
                  : call->form >= ObserveForm::kGradient       ? Ask(4)
                  : item.kind == TurnWork::Kind::kObserve      ? Ask(1)
                                                               : 0;
      want.label = call->values[r];
      want.of_label = Ask(2);
      if (!call->write[r] || item.kind != TurnWork::Kind::kObserve) continue;
      ++own_writes;
      if (work_->counted.insert(call->values[r]).second) request.count_values.push_back(call->values[r]);
    }
    if (item.kind == TurnWork::Kind::kObserve) writes += own_writes;
  }
  const uint64_t free = spec_.capacity - state_.live_count;
  if (writes > 0 && free > 0) request.free = Ask(static_cast<uint32_t>(std::min<uint64_t>(free, writes) + touched));
  if (writes > free) {
    // Beyond those that are taken, the walk passes more than m slots with probability exp(-m^2 / (2 age_noise)): at
    // 4 sqrt(age_noise) a second request is needed once in 3,000 misses.
    request.oldest = Ask(writes + touched + 8 + static_cast<uint32_t>(4 * std::sqrt(spec_.age_noise)));
  }
  work_->view = std::make_unique<TurnView>(&spec_, work_->rows->data, state_.name.step);
  for (const Unapplied& u : unapplied_) work_->view->AddUnapplied(u.effects);

  request.at = ShardPoint();
  request.rows = work_->rows;
  Begin(&Engine::AnswerReads, Phase::kPropose);
  if (!request.wants.empty()) {
    shards_->Propose(request, Expect<std::vector<Proposal>>([this](std::vector<Proposal> proposals) {
                       TakeMerged(work_->request, std::move(proposals));
                     }));
  }
  for (size_t i = 0; i < work_->items.size(); ++i) {
    if (work_->items[i].kind == TurnWork::Kind::kSlots) AskSlots(i, std::get<SlotsCall>(work_->items[i].task.call));
    if (work_->items[i].kind == TurnWork::Kind::kImport) AskImport(i, std::get<ImportCall>(work_->items[i].task.call));
  }
  Ready();
}

void Engine::TakeMerged(const ProposeRequest& request, std::vector<Proposal> proposals) {
  TurnView& view = *work_->view;
  uint64_t live = 0;
  for (const Proposal& p : proposals) live += p.live_count;
  view.SetLive(live);
  for (size_t w = 0; w < request.wants.size(); ++w) {
    view.SetRow(request.wants[w].row, MergeRow(proposals, w, request.wants[w]));
    for (Proposal& p : proposals) {
      RowProposal& row = p.rows[w];
      if (row.keys.empty()) continue;
      std::vector<uint64_t> slots(row.keys.size() / spec_.key_dim);
      for (size_t i = 0; i < slots.size(); ++i) slots[i] = row.neighbors[i].slot;
      view.AddKeys(std::move(row.keys), slots);
    }
  }
  if (request.oldest > 0) {
    MergedOldest oldest = MergeOldest(proposals);
    view.SetOldest(std::move(oldest.slots), oldest.complete, request.oldest);
  }
  if (request.free > 0) {
    MergedFree free = MergeFree(proposals);
    view.SetFree(std::move(free.slots), free.complete, request.free);
  }
  for (const Proposal& p : proposals) {
    for (const ValueCount& count : p.counts) view.AddCount(count);
  }
}

void Engine::AskShards(const Need& need, Stage then) {
  // Only what is lacking is asked for again: a row without `neighbors` is not searched. (wants[row] is the first
  // request's of that row.)
  absl::flat_hash_map<uint32_t, RowWant> wants;
  const auto want_of = [&](uint32_t row) -> RowWant& {
    RowWant& want = wants[row];
    want.row = row;
    return want;
  };
  for (const Need::OfRow& n : need.neighbors) {
    want_of(n.row).neighbors = n.count;
    want_of(n.row).keys = std::min(n.count, work_->request.wants[n.row].keys);
  }
  for (const Need::OfRow& n : need.of_label) {
    want_of(n.row).of_label = n.count;
    want_of(n.row).label = work_->request.wants[n.row].label;
  }
  work_->report.more_neighbors += need.neighbors.size();
  work_->report.more_of_value += need.of_label.size();
  work_->report.more_oldest += need.oldest > 0;
  work_->report.more_free += need.free > 0;

  auto request = std::make_shared<ProposeRequest>();
  request->at = ShardPoint();
  request->rows = work_->rows;
  request->oldest = need.oldest;
  request->free = need.free;
  for (const auto& [row, want] : wants) request->wants.push_back(want);
  const bool more = !request->wants.empty() || request->oldest > 0 || request->free > 0;
  Begin(then, more ? Phase::kMore : Phase::kFetch);
  if (more) {
    shards_->Propose(*request, Expect<std::vector<Proposal>>([this, request](std::vector<Proposal> proposals) {
                       TakeMerged(*request, std::move(proposals));
                     }));
  }
  if (!need.fetch.empty()) {
    FetchRequest fetch{.at = ShardPoint(), .slots = need.fetch};
    std::sort(fetch.slots.begin(), fetch.slots.end());
    fetch.slots.erase(std::unique(fetch.slots.begin(), fetch.slots.end()), fetch.slots.end());
    shards_->Fetch(fetch, Expect<std::vector<SlotContent>>([this](std::vector<SlotContent> fetched) {
                     for (SlotContent& f : fetched) {
                       const uint64_t slot = f.state.slot;
                       work_->view->AddKeys(std::move(f.key), {slot});
                     }
                   }));
  }
  Ready();
}

}  // namespace evoke
