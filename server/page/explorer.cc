#include "server/page/explorer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/engine/await.h"
#include "server/page/payload_view.h"
#include "server/service/convert_query.h"

namespace evoke {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(5);   // to enter a turn
constexpr absl::Duration kPatience = absl::Seconds(10);  // in all
constexpr uint64_t kNone = ~uint64_t{0};

v1::MemoryRef RefTo(const std::string& memory) {
  v1::MemoryRef ref;
  ref.set_name(memory);
  return ref;
}

Json ToJson(const StateName& state) {
  return {{"epoch", state.epoch.value}, {"turn", state.turn.value}, {"step", state.step.value}};
}

// `all`: every payload, else the first and the latest.
Json ToJson(const std::vector<Payload>& payloads, bool all) {
  Json json = Json::array();
  for (size_t i = 0; i < payloads.size(); ++i) {
    if (all || i == 0 || i + 1 == payloads.size()) json.push_back(ToJson(payloads[i]));
  }
  return json;
}

Json ToJson(const SlotAnswer& answer, Step step) {
  const SlotState& state = answer.content.state;
  return {{"slot", state.slot},
          {"value", absl::StrCat(state.value)},
          {"written_step", state.written_step},
          {"age", step.value - state.written_step},
          {"hits", state.hits},
          {"payloads", ToJson(answer.payloads, /*all=*/true)}};
}

}  // namespace

absl::StatusOr<SlotsReply> Explorer::GetSlots(const ResolvedMemory& memory, const SlotsQuestion& question,
                                              bool keys) const {
  v1::GetSlotsRequest request;
  for (const uint64_t slot : question.slots) request.add_slots(slot);
  for (const int64_t value : question.values) request.add_values(value);
  request.set_limit(question.limit);
  request.set_keys(keys);
  request.set_payloads(true);
  Executor& executor = *memory.executor;
  EVOKE_ASSIGN_OR_RETURN(SlotsCall call, ToSlotsCall(request, {executor.name(), executor.spec(), *shared_->limits}));
  Task task;
  task.deadline = absl::Now() + kDeadline;
  task.client = client_;
  return Await<SlotsReply>(executor, std::move(call), std::move(task), kPatience);
}

absl::StatusOr<QueryReply> Explorer::Query(const ResolvedMemory& memory, const std::vector<float>& embedding) const {
  v1::QueryRequest request;
  v1::Matrix* matrix = request.mutable_embeddings();
  matrix->set_data(ToBytes(embedding));
  matrix->set_dtype(v1::DTYPE_FLOAT32);
  matrix->set_rows(1);
  matrix->set_dim(static_cast<uint32_t>(embedding.size()));
  request.set_neighbors(true);  // as many as the memory answers from, or the confidence would be another
  Executor& executor = *memory.executor;
  EVOKE_ASSIGN_OR_RETURN(QueryCall call, ToQueryCall(request, {executor.name(), executor.spec(), *shared_->limits}));
  Task task;
  task.deadline = absl::Now() + kDeadline;
  task.client = client_;
  return Await<QueryReply>(executor, std::move(call), std::move(task), kPatience);
}

absl::StatusOr<Json> Explorer::Slots(const std::string& memory, const SlotsQuestion& question) const {
  const uint64_t most = question.slots.size() + question.values.size() * uint64_t{question.limit};
  if (most > kMostListed) return TooLarge("slots", "slots that the answer could list", most, kMostListed);
  EVOKE_ASSIGN_OR_RETURN(const ResolvedMemory found, Resolve(*shared_, RefTo(memory)));
  EVOKE_ASSIGN_OR_RETURN(const SlotsReply reply, GetSlots(found, question, /*keys=*/false));
  Json json = {{"state", ToJson(reply.state)}, {"slots", Json::array()}, {"values", Json::array()}};
  for (const SlotAnswer& slot : reply.slots) json["slots"].push_back(ToJson(slot, reply.state.step));
  for (const SlotsReply::OfValue& of : reply.values) {
    Json value = {{"value", absl::StrCat(of.count.value)},
                  {"live_slots", of.count.live_slots},
                  {"observations", of.count.observations},
                  {"slots", Json::array()}};
    for (const SlotAnswer& slot : of.slots) value["slots"].push_back(ToJson(slot, reply.state.step));
    json["values"].push_back(std::move(value));
  }
  return json;
}

absl::StatusOr<Json> Explorer::NeighborsOf(const std::string& memory, uint64_t slot, uint32_t count) const {
  if (count > kMostListed) return TooLarge("count", "neighbors asked for", count, kMostListed);
  EVOKE_ASSIGN_OR_RETURN(const ResolvedMemory found, Resolve(*shared_, RefTo(memory)));
  EVOKE_ASSIGN_OR_RETURN(const SlotsReply held, GetSlots(found, {.slots = {slot}}, /*keys=*/true));
  if (held.slots.empty()) {
    return MakeError(absl::StatusCode::kNotFound, absl::StrCat("slot ", slot, " of memory \"", memory, "\" is free"),
                     {.reason = "SLOT_FREE"});
  }
  EVOKE_ASSIGN_OR_RETURN(const QueryReply reply, Query(found, held.slots[0].content.key));
  Json json = {{"state", ToJson(reply.state)}, {"slot", ToJson(held.slots[0], held.state.step)}};
  EVOKE_RETURN_IF_ERROR(AddNeighbors(found, reply, count, slot, &json));
  return json;
}

absl::StatusOr<Json> Explorer::Ask(const std::string& memory, const std::vector<float>& embedding,
                                   uint32_t count) const {
  if (count > kMostListed) return TooLarge("count", "neighbors asked for", count, kMostListed);
  EVOKE_ASSIGN_OR_RETURN(const ResolvedMemory found, Resolve(*shared_, RefTo(memory)));
  EVOKE_ASSIGN_OR_RETURN(const QueryReply reply, Query(found, embedding));
  Json json = {{"state", ToJson(reply.state)}};
  EVOKE_RETURN_IF_ERROR(AddNeighbors(found, reply, count, kNone, &json));
  return json;
}

absl::Status Explorer::AddNeighbors(const ResolvedMemory& memory, const QueryReply& reply, uint32_t count,
                                    uint64_t left_out, Json* json) const {
  SlotsQuestion shown;
  for (const ScoredSlot& neighbor : reply.neighbors) {
    if (neighbor.slot != left_out && shown.slots.size() < count) shown.slots.push_back(neighbor.slot);
  }
  std::map<uint64_t, SlotAnswer> held;
  if (!shown.slots.empty()) {
    absl::StatusOr<SlotsReply> slots = GetSlots(memory, shown, /*keys=*/false);
    // A server of small messages refuses so many payloads; the neighbors are known all the same.
    if (!slots.ok() && !absl::IsInvalidArgument(slots.status())) return slots.status();
    for (SlotAnswer& slot : slots.ok() ? slots->slots : std::vector<SlotAnswer>())
      held[slot.content.state.slot] = std::move(slot);
  }
  const bool answered = reply.answered[0] != 0;
  (*json)["answer"] = {{"answered", answered},
                       {"value", absl::StrCat(reply.values[0])},
                       {"confidence", reply.confidences[0]},
                       {"neighbors", reply.neighbor_count},
                       {"inverse_temperature", memory.executor->spec().inverse_temperature}};
  // Of all neighbors that the answer is made of, so that it can be made again without one of them.
  Json all = Json::array();
  for (const ScoredSlot& n : reply.neighbors) {
    if (n.slot != left_out) all.push_back({absl::StrCat(n.value), n.similarity});
  }
  (*json)["values_and_similarities"] = std::move(all);
  (*json)["neighbors"] = Json::array();
  for (size_t i = 0; i < reply.neighbors.size() && (*json)["neighbors"].size() < shown.slots.size(); ++i) {
    const ScoredSlot& n = reply.neighbors[i];
    if (n.slot == left_out) continue;
    Json neighbor = {{"slot", n.slot},
                     {"value", absl::StrCat(n.value)},
                     {"similarity", n.similarity},
                     {"weight", reply.weights[i]},
                     {"age", reply.state.step.value - n.written_step},
                     {"hits", n.hits}};
    // Payloads are of a later turn, perhaps: of a slot that was written since, they are not this neighbor's.
    const auto it = held.find(n.slot);
    const bool same = it != held.end() && it->second.content.state.written_step == n.written_step;
    neighbor["payloads_known"] = same;
    neighbor["payloads"] = same ? ToJson(it->second.payloads, /*all=*/false) : Json::array();
    (*json)["neighbors"].push_back(std::move(neighbor));
  }
  return absl::OkStatus();
}

}  // namespace evoke
