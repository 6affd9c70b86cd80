// The turn of an Import, and of a fork that is not copied as files: rows are written as they are, no search.
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/engine/engine.h"
#include "server/engine/merge.h"
#include "server/engine/turn_work.h"
#include "server/memory/state_hash.h"
#include "storage/payload_ring.h"

namespace evoke {
namespace {

absl::Status Taken(const char* key, uint64_t at, const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, message,
                   {.reason = "SLOT_TAKEN", .metadata = {{key, absl::StrCat(at)}}});
}

// A row for every place that `hits` makes valid, an empty one where there is no payload (storage/README.md).
std::vector<PayloadRow> WholeRing(std::vector<PayloadRow> given, uint32_t hits, uint32_t history) {
  std::vector<PayloadRow> ring;
  for (const uint16_t place : ValidPlaces(hits, history)) {
    PayloadRow row{.place = place};
    for (PayloadRow& g : given) {
      if (g.place == place) row = std::move(g);
    }
    ring.push_back(std::move(row));
  }
  return ring;
}

}  // namespace

void Engine::AskImport(size_t index, const ImportCall& call) {
  ProposeRequest request{.at = ShardPoint(), .rows = work_->rows};
  if (call.exact) {
    FetchRequest fetch{.at = ShardPoint()};
    for (const ImportRow& row : call.rows) fetch.slots.push_back(row.slot);
    shards_->Fetch(fetch, Expect<std::vector<SlotContent>>([this, index](std::vector<SlotContent> fetched) {
                     work_->items[index].fetched = std::move(fetched);
                   }));
  } else {
    request.free = static_cast<uint32_t>(call.rows.size());
  }
  for (const ImportRow& row : call.rows) {
    if (work_->counted.insert(row.value).second) request.count_values.push_back(row.value);
  }
  shards_->Propose(request, Expect<std::vector<Proposal>>([this, index](std::vector<Proposal> proposals) {
                     work_->items[index].free = MergeFree(proposals).slots;
                     for (const Proposal& p : proposals) {
                       for (const ValueCount& count : p.counts) work_->view->AddCount(count);
                     }
                   }));
}

absl::Status Engine::CheckImport(size_t index) const {
  const TurnWork::Item& item = work_->items[index];
  const ImportCall& call = std::get<ImportCall>(item.task.call);
  if (!call.exact) {
    const uint64_t free = spec_.capacity - state_.live_count;
    if (call.rows.size() <= free) return absl::OkStatus();
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat("an import of ", call.rows.size(), " rows, but only ", free, " slots of ",
                                  spec_.capacity, " are free"),
                     {.reason = "MEMORY_FULL",
                      .metadata = {{"rows", absl::StrCat(call.rows.size())}, {"free", absl::StrCat(free)}}});
  }
  if (!item.fetched.empty()) {
    const uint64_t slot = item.fetched.front().state.slot;
    return Taken("slot", slot, absl::StrCat("slot ", slot, " is live already"));
  }
  if (!call.rows.empty() && call.rows.front().written_step <= state_.name.step.value) {
    return Taken("step", state_.name.step.value,
                 absl::StrCat("a row was written at step ", call.rows.front().written_step,
                              ", but the memory is at step ", state_.name.step.value, " already"));
  }
  return absl::OkStatus();
}

bool Engine::AdmitImport(size_t index) {
  TurnWork::Item& item = work_->items[index];
  absl::Status status = CheckImport(index);
  if (const MutationId* mutation = item.task.mutation(); status.ok() && mutation != nullptr) {
    status = sessions_.Admit(*mutation, work_->turn, &work_->ops).status();
  }
  if (!status.ok()) Tell([&item, status] { item.task.Fail(status); });
  return status.ok();
}

void Engine::ImportRows(size_t index) {
  TurnWork::Item& item = work_->items[index];
  ImportCall& call = std::get<ImportCall>(item.task.call);
  TurnRecord& record = *work_->record;
  record.admin = call.origin ? AdminOp::kFork : AdminOp::kImport;
  record.origin = call.origin;
  ImportReply reply;
  uint64_t step = state_.name.step.value;
  for (size_t i = 0; i < call.rows.size(); ++i) {
    ImportRow& row = call.rows[i];
    if (!call.exact) {
      row.slot = item.free[i];
      row.written_step = step + 1;
      row.hits = 0;
      for (PayloadRow& payload : row.payloads) payload.step = Step(row.written_step);
    }
    step = row.written_step;
    reply.slots.push_back(row.slot);
    record.state_hash += SlotHash(row.slot, row.value, row.written_step, row.hits, row.key);
    work_->effects.count_deltas[row.value].first += 1;
    record.writes.push_back(
        {.slot = SlotId(row.slot),
         .kind = WriteKind::kImport,
         .value = row.value,
         .written_step = Step(row.written_step),
         .hits = row.hits,
         .key = std::move(row.key),
         .payloads = WholeRing(std::move(row.payloads), row.hits, spec_.payload_history)});
  }
  record.step_after = Step(std::max(step, call.exact ? call.step_after : 0));
  record.live_after = state_.live_count + call.rows.size();
  reply.state = NameAfter(record.step_after);
  reply.live_count = record.live_after;
  reply.state_hash = record.state_hash;
  item.reply = call.encode(reply);
  if (call.mutation) sessions_.Complete(*call.mutation, item.reply, &work_->ops);
}

}  // namespace evoke
