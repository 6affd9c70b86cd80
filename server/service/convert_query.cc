#include "server/service/convert_query.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/convert_rows.h"

namespace evoke {
namespace {

// Generous bounds of what a reply takes beside its arrays.
constexpr uint64_t kEnvelopeBytes = 512;  // header and field tags
constexpr uint64_t kSlotBytes = 64;       // numbers of a Slot or SlotPayloads
constexpr uint64_t kPayloadBytes = kMaxPayloadBytes + 24;
constexpr uint32_t kDefaultSlotsOfValue = 16;

uint64_t WorstPayloads(uint64_t slots, const MemorySpec& spec) {
  return std::min(slots, spec.capacity) * (kSlotBytes + spec.payload_history * kPayloadBytes);
}

uint64_t PredictedBytes(const QueryCall& call, uint64_t rows, const MemorySpec& spec) {
  const uint64_t listed = rows * std::min<uint64_t>(call.k, spec.capacity);
  uint64_t bytes = kEnvelopeBytes + rows * (8 + 4) + rows / 8 + 1;
  if (call.neighbors) bytes += listed * (8 + 8 + 4 + 4 + 8);
  if (call.keys) bytes += listed * spec.key_dim * 4;
  if (call.payloads) bytes += WorstPayloads(listed, spec);
  return bytes;
}

absl::Status CheckReplyBytes(const char* what, uint64_t bytes, const Target& target) {
  if (bytes <= target.limits.max_message_bytes) return absl::OkStatus();
  return TooLarge(
      "reply",
      absl::StrCat("bytes that the reply to a ", what, " of memory \"", target.memory, "\" could take"),
      bytes, target.limits.max_message_bytes);
}

void AddPayloads(const std::vector<Payload>& payloads, google::protobuf::RepeatedPtrField<v1::Payload>* out) {
  for (const Payload& payload : payloads) {
    v1::Payload* added = out->Add();
    added->set_step(payload.step.value);
    added->set_data(payload.bytes);
  }
}

void FillSlot(const SlotAnswer& answer, Step step, v1::Slot* out) {
  const SlotState& state = answer.content.state;
  out->set_slot(state.slot);
  out->set_value(state.value);
  out->set_written_step(state.written_step);
  out->set_age(step.value - state.written_step);
  out->set_hits(state.hits);
  out->set_key(ToBytes(answer.content.key));
  AddPayloads(answer.payloads, out->mutable_payloads());
}

}  // namespace

absl::StatusOr<QueryCall> ToQueryCall(const v1::QueryRequest& request, const Target& target) {
  EVOKE_RETURN_IF_ERROR(CheckShape("query", request.embeddings(), target));
  QueryCall call;
  call.k = request.has_k() ? request.k() : target.spec.choose_k;
  if (call.k == 0) return BadArgument("k", "k is 0, at least 1 neighbor must be asked for");
  if (request.has_k() && request.k() > target.limits.max_k) {
    return TooLarge("k", "neighbors of a row asked for (k)", request.k(), target.limits.max_k);
  }
  call.inverse_temperature =
      request.has_inverse_temperature() ? request.inverse_temperature() : target.spec.inverse_temperature;
  if (!std::isfinite(call.inverse_temperature) || call.inverse_temperature <= 0) {
    return BadArgument("inverse_temperature",
                       absl::StrCat("inverse_temperature is ", call.inverse_temperature,
                                    ", expects a finite number above 0"));
  }
  call.keys = request.neighbor_keys();
  call.payloads = request.neighbor_payloads();
  call.neighbors = request.neighbors() || call.keys || call.payloads;
  EVOKE_RETURN_IF_ERROR(
      CheckReplyBytes("query", PredictedBytes(call, request.embeddings().rows(), target.spec), target));
  EVOKE_ASSIGN_OR_RETURN(call.rows, DecodeRows(request.embeddings(), request.skip()));
  EVOKE_RETURN_IF_ERROR(NormaliseRows("query", target.memory, &call.rows));
  return call;
}

v1::QueryResponse ToResponse(const QueryReply& reply, std::string_view instance) {
  v1::QueryResponse response;
  *response.mutable_header() = ToHeader(reply.state, instance);
  response.set_rows(reply.rows);
  response.set_answered(PackBits(reply.answered));
  response.set_values(ToBytes(reply.values));
  response.set_confidences(ToBytes(reply.confidences));
  response.set_neighbor_count(reply.neighbor_count);
  if (!reply.neighbors.empty()) {
    const size_t count = reply.neighbors.size();
    std::vector<uint64_t> slots(count), ages(count);
    std::vector<int64_t> values(count);
    std::vector<float> similarities(count);
    for (size_t i = 0; i < count; ++i) {
      const ScoredSlot& neighbor = reply.neighbors[i];
      slots[i] = neighbor.slot;
      values[i] = neighbor.value;
      similarities[i] = neighbor.similarity;
      // No live slot was written at step 0: this is the filling of a row that was skipped.
      ages[i] = neighbor.written_step == 0 ? 0 : reply.state.step.value - neighbor.written_step;
    }
    response.set_neighbor_slots(ToBytes(slots));
    response.set_neighbor_values(ToBytes(values));
    response.set_neighbor_similarities(ToBytes(similarities));
    response.set_neighbor_weights(ToBytes(reply.weights));
    response.set_neighbor_ages(ToBytes(ages));
    response.set_neighbor_keys(ToBytes(reply.keys));
  }
  for (const SlotPayloads& slot : reply.payloads) {
    v1::SlotPayloads* added = response.add_payloads();
    added->set_slot(slot.slot.value);
    AddPayloads(slot.payloads, added->mutable_payloads());
  }
  return response;
}

absl::StatusOr<SlotsCall> ToSlotsCall(const v1::GetSlotsRequest& request, const Target& target) {
  const uint64_t asked = uint64_t(request.slots_size()) + uint64_t(request.values_size());
  if (asked > target.limits.max_rows) {
    return TooLarge("slots", "slots and values asked for", asked, target.limits.max_rows);
  }
  SlotsCall call{
      .slots = {request.slots().begin(), request.slots().end()},
      .values = {request.values().begin(), request.values().end()},
      .limit = request.limit() == 0 ? std::min(kDefaultSlotsOfValue, target.limits.max_k) : request.limit(),
      .keys = request.keys(),
      .payloads = request.payloads()};
  if (call.limit > target.limits.max_k) {
    return TooLarge("limit", "slots of a value asked for (limit)", call.limit, target.limits.max_k);
  }
  for (uint64_t slot : call.slots) {
    if (slot >= target.spec.capacity) {
      return BadArgument("slots", absl::StrCat("slot ", slot, " is beyond the capacity of memory \"",
                                               target.memory, "\", ", target.spec.capacity));
    }
  }
  const uint64_t of_value = std::min<uint64_t>(call.limit, target.spec.capacity);
  const uint64_t listed = call.slots.size() + call.values.size() * of_value;
  uint64_t each = kSlotBytes + (call.keys ? uint64_t{target.spec.key_dim} * 4 : 0);
  if (call.payloads) each += target.spec.payload_history * kPayloadBytes;
  // A value asked for twice is answered twice, so the capacity bounds nothing here.
  EVOKE_RETURN_IF_ERROR(
      CheckReplyBytes("GetSlots", kEnvelopeBytes + call.values.size() * kSlotBytes + listed * each, target));
  return call;
}

v1::GetSlotsResponse ToResponse(const SlotsReply& reply, std::string_view instance) {
  v1::GetSlotsResponse response;
  *response.mutable_header() = ToHeader(reply.state, instance);
  for (const SlotAnswer& answer : reply.slots) FillSlot(answer, reply.state.step, response.add_slots());
  for (const SlotsReply::OfValue& of_value : reply.values) {
    v1::ValueSlots* added = response.add_values();
    added->set_value(of_value.count.value);
    added->set_live_slots(of_value.count.live_slots);
    added->set_observations(of_value.count.observations);
    for (const SlotAnswer& answer : of_value.slots) FillSlot(answer, reply.state.step, added->add_slots());
  }
  return response;
}

}  // namespace evoke
