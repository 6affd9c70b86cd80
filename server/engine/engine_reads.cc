// The reading half of a turn: queries, slots, stored replies, and labelled rows that do not write. All of it is
// answered from the state at the turn's start, before the first mutation is decided.
#include <algorithm>
#include <utility>

#include "server/base/errors.h"
#include "server/engine/engine.h"
#include "server/engine/turn_work.h"
#include "server/memory/row_score.h"
#include "server/similarity/softmax.h"

namespace evoke {
namespace {

absl::Status Unreadable(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kDataLoss) return status;
  return MakeError(status.code(), std::string(status.message()), {.reason = "CORRUPT_ROW"});
}

}  // namespace

void Engine::AnswerReads() {
  At(TurnEdge::kProposed);
  Need need;
  for (size_t i = 0; i < work_->items.size(); ++i) {
    TurnWork::Item& item = work_->items[i];
    if (item.resolved) continue;
    if (item.kind == TurnWork::Kind::kQuery) {
      item.resolved = AnswerQuery(i, &need);
    } else if (item.kind == TurnWork::Kind::kReadObserve) {
      item.resolved = ResolvePlan(i, &need);
    }
  }
  if (!need.empty()) return AskShards(need, &Engine::AnswerReads);
  SendReads();
}

bool Engine::AnswerQuery(size_t index, Need* need) {
  TurnWork::Item& item = work_->items[index];
  const QueryCall& call = std::get<QueryCall>(item.task.call);
  const TurnView& view = *work_->view;
  const uint32_t rows = call.rows.count();
  QueryReply& reply = item.query;
  reply = {.state = state_.name, .rows = rows};
  reply.answered.assign(rows, 0);
  reply.values.assign(rows, 0);
  reply.confidences.assign(rows, 0);
  reply.neighbor_count = static_cast<uint32_t>(std::min<uint64_t>(call.k, view.live()));
  const size_t m = reply.neighbor_count;
  if (call.neighbors) {
    reply.neighbors.resize(rows * m);
    reply.weights.assign(rows * m, 0);
  }
  if (call.keys) reply.keys.assign(rows * m * spec_.key_dim, 0);

  bool known = true;
  std::vector<ScoredSlot> neighbors;
  for (uint32_t r = 0; r < rows; ++r) {
    if (item.view_row[r] == BatchRows::kSkipped) continue;
    if (!view.Neighbors(item.view_row[r], call.k, &neighbors, need)) {
      known = false;
      continue;
    }
    if (neighbors.empty()) continue;
    const std::vector<double> weights = NeighborWeights(neighbors, call.inverse_temperature);
    reply.answered[r] = 1;
    reply.values[r] = neighbors[0].value;
    reply.confidences[r] = Confidence(weights);
    for (size_t n = 0; call.neighbors && n < neighbors.size(); ++n) {
      reply.neighbors[r * m + n] = neighbors[n];
      reply.weights[r * m + n] = static_cast<float>(weights[n]);
    }
    for (size_t n = 0; call.keys && n < neighbors.size(); ++n) {
      const float* key = view.Key(neighbors[n].slot, need);
      known &= key != nullptr;
      if (key) std::copy(key, key + spec_.key_dim, &reply.keys[(r * m + n) * spec_.key_dim]);
    }
  }
  return known;
}

// --- slots ---------------------------------------------------------------------------------------------------------

void Engine::AskSlots(size_t index, const SlotsCall& call) {
  TurnWork::Item& item = work_->items[index];
  item.slots.state = state_.name;
  item.slots.values.resize(call.values.size());
  if (!call.slots.empty()) {
    shards_->Fetch({.at = ShardPoint(), .slots = call.slots},
                   Expect<std::vector<SlotContent>>([this, index](std::vector<SlotContent> fetched) {
                     work_->items[index].fetched = std::move(fetched);
                   }));
  }
  for (size_t v = 0; v < call.values.size(); ++v) {
    shards_->ReadValue({.at = ShardPoint(), .value = call.values[v], .limit = call.limit, .keys = call.keys},
                       Expect<SlotsOfValue>([this, index, v](SlotsOfValue found) {
                         SlotsReply::OfValue& of_value = work_->items[index].slots.values[v];
                         of_value.count = found.count;
                         for (SlotContent& c : found.slots) of_value.slots.push_back({.content = std::move(c)});
                       }));
  }
}

void Engine::SendSlots(size_t index) {
  TurnWork::Item& item = work_->items[index];
  const SlotsCall& call = std::get<SlotsCall>(item.task.call);
  absl::flat_hash_map<uint64_t, const SlotContent*> fetched;
  for (SlotContent& c : item.fetched) {
    if (!call.keys) c.key.clear();
    fetched[c.state.slot] = &c;
  }
  for (uint64_t slot : call.slots) {
    if (const auto it = fetched.find(slot); it != fetched.end()) item.slots.slots.push_back({.content = *it->second});
  }
  if (!call.payloads) return TellInCommit([&item] { item.task.Reply(std::move(item.slots)); });

  std::vector<SlotAnswer*> answers;
  for (SlotAnswer& a : item.slots.slots) answers.push_back(&a);
  for (SlotsReply::OfValue& v : item.slots.values) {
    for (SlotAnswer& a : v.slots) answers.push_back(&a);
  }
  std::vector<SlotPayloads> wanted;
  for (const SlotAnswer* a : answers) wanted.push_back({SlotId(a->content.state.slot), a->content.state.hits, {}});
  ReadPayloads(index, std::move(wanted), [this, index, answers](std::vector<SlotPayloads> read) {
    for (size_t i = 0; i < read.size(); ++i) answers[i]->payloads = std::move(read[i].payloads);
    TurnWork::Item& item = work_->items[index];
    item.task.Reply(std::move(item.slots));
  });
}

// --- replies -------------------------------------------------------------------------------------------------------

// Payloads and stored replies are read when the store is at the turn's start: after the last commit before this turn, and
// before its own can change them.
void Engine::SendReads() {
  work_->waits = !in_flight_.empty() && work_->reads_store();
  if (work_->waits) return;  // Settle comes back here
  At(TurnEdge::kReadsKnown);
  Begin(&Engine::Decide, Phase::kReply);
  for (size_t i = 0; i < work_->items.size(); ++i) {
    TurnWork::Item& item = work_->items[i];
    switch (item.kind) {
      case TurnWork::Kind::kQuery:
        SendQuery(i);
        break;
      case TurnWork::Kind::kSlots:
        SendSlots(i);
        break;
      case TurnWork::Kind::kReader:
        SendReader(i);
        break;
      case TurnWork::Kind::kInspect:
        TellInCommit([&item, reply = InspectReply{.state = state_.name,
                                          .state_hash = state_.state_hash,
                                          .live_count = state_.live_count,
                                          .distinct_values = state_.distinct_values,
                                          .sessions = static_cast<uint32_t>(state_.sessions)}] { item.task.Reply(reply); });
        break;
      case TurnWork::Kind::kRetryStored:
        SendStored(i);
        break;
      case TurnWork::Kind::kReadObserve: {
        const ObserveCall& call = std::get<ObserveCall>(item.task.call);
        ObserveReply reply{std::move(item.plan->result()), state_.name};
        TellInCommit([&item, bytes = call.encode(reply)]() mutable { item.task.Reply(std::move(bytes)); });
        item.plan->result() = std::move(reply);  // for the report
        break;
      }
      default:
        break;
    }
  }
  Ready();
}

void Engine::SendReader(size_t index) {
  Task& task = work_->items[index].task;
  ReaderReply reply{
      .state = state_.name, .chain = state_.chain, .state_hash = state_.state_hash, .live_count = state_.live_count};
  absl::StatusOr<std::shared_ptr<const StoreReader>> reader = store_->OpenReader();
  if (!reader.ok() && !absl::IsUnimplemented(reader.status())) return task.Fail(reader.status());
  if (reader.ok()) reply.reader = *std::move(reader);
  task.Reply(std::move(reply));
}

void Engine::SendQuery(size_t index) {
  TurnWork::Item& item = work_->items[index];
  const QueryCall& call = std::get<QueryCall>(item.task.call);
  if (!call.payloads) return TellInCommit([&item] { item.task.Reply(std::move(item.query)); });
  std::vector<SlotPayloads> wanted;
  for (uint32_t r = 0; r < item.query.rows; ++r) {
    for (uint32_t n = 0; item.query.answered[r] && n < item.query.neighbor_count; ++n) {
      const ScoredSlot& s = item.query.neighbors[size_t{r} * item.query.neighbor_count + n];
      wanted.push_back({SlotId(s.slot), s.hits, {}});
    }
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.slot < b.slot; });
  wanted.erase(std::unique(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.slot == b.slot; }),
               wanted.end());
  ReadPayloads(index, std::move(wanted), [this, index](std::vector<SlotPayloads> read) {
    TurnWork::Item& item = work_->items[index];
    item.query.payloads = std::move(read);
    item.task.Reply(std::move(item.query));
  });
}

// What the store cannot read (a damaged row) is the error of the task that asked for it: the turn, and the memory, go on.
void Engine::ReadPayloads(size_t index, std::vector<SlotPayloads> slots,
                          std::function<void(std::vector<SlotPayloads>)> take) {
  struct Read {
    absl::Status status;
    std::vector<SlotPayloads> slots;
  };
  auto done = Expect<Read>([this, index, take = std::move(take)](Read read) {
    if (read.status.ok()) return take(std::move(read.slots));
    work_->items[index].task.Fail(Unreadable(read.status));
  });
  io_->Post([this, slots = std::move(slots), done = std::move(done)]() mutable {
    absl::Status status = store_->ReadPayloads(absl::MakeSpan(slots));
    done(Read{std::move(status), std::move(slots)});
  });
}

void Engine::SendStored(size_t index) {
  struct Read {
    absl::Status status;
    std::string reply;
  };
  const MutationId id = *work_->items[index].task.mutation();
  auto done = Expect<Read>([this, index](Read read) {
    Task& task = work_->items[index].task;
    if (read.status.ok()) {
      task.Reply(std::move(read.reply));
    } else {
      task.Fail(Unreadable(read.status));
    }
  });
  io_->Post([this, id, done = std::move(done)]() mutable {
    absl::StatusOr<std::string> reply = store_->ReadReply(id.session, id.number);
    done(reply.ok() ? Read{{}, *std::move(reply)} : Read{reply.status(), {}});
  });
}

}  // namespace evoke
