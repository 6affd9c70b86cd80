#include "server/service/convert_import.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/convert_rows.h"
#include "server/service/digest.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// Keys that were normalised in float32 are within a few units of 1; other programs' may be a little off.
constexpr float kUnitTolerance = 1e-3f;

// A memory counts on from the last step of an import for as long as it lives: at 10^9 observations a second this leaves
// 292 years. With steps near 2^64 its next turn would be step 0, which no store takes.
constexpr uint64_t kMaxStep = ~uint64_t{0} >> 1;

template <typename T>
absl::StatusOr<std::vector<T>> Column(const char* field, std::string_view bytes, size_t count) {
  if (bytes.size() != count * sizeof(T)) {
    return BadShape(absl::StrCat("exact.", field, " has ", bytes.size(), " bytes, expects ", count * sizeof(T)));
  }
  std::vector<T> column(count);
  std::memcpy(column.data(), bytes.data(), bytes.size());
  return column;
}

absl::Status CheckExactRow(const ImportRow& row, const MemorySpec& spec, size_t index) {
  if (row.slot >= spec.capacity) {
    return BadArgument("exact.slots", absl::StrCat("row ", index, " is of slot ", row.slot, ", the capacity is ", spec.capacity));
  }
  const bool finite = std::all_of(row.key.begin(), row.key.end(), [](float x) { return std::isfinite(x); });
  if (!finite) {
    return MakeError(absl::StatusCode::kInvalidArgument, absl::StrCat("row ", index, " has a component that is not finite"),
                     {.reason = "NON_FINITE", .metadata = {{"row", absl::StrCat(index)}}});
  }
  const float norm = Norm(row.key.data(), static_cast<int>(spec.key_dim));
  if (!(std::abs(norm - 1) <= kUnitTolerance)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     absl::StrCat("row ", index, " has norm ", norm, ", an exact row has a unit key"),
                     {.reason = "BAD_NORM", .metadata = {{"row", absl::StrCat(index)}}});
  }
  return absl::OkStatus();
}

absl::Status TakePlacedPayloads(v1::SlotRows* from, const MemorySpec& spec, std::vector<ImportRow>* rows) {
  absl::flat_hash_set<std::pair<uint32_t, uint32_t>> seen;
  for (v1::PlacedPayload& payload : *from->mutable_payloads()) {
    const auto bad = [&](const auto&... what) {
      return BadArgument("exact.payloads", absl::StrCat("a payload of row ", payload.row(), ", place ", payload.place(), " ", what...));
    };
    if (payload.row() >= rows->size()) return bad("belongs to none of ", rows->size(), " rows");
    ImportRow& row = (*rows)[payload.row()];
    // Place 0 and, one a hit, those after it (storage/payload_ring.h).
    if (payload.place() >= spec.payload_history || payload.place() > row.hits) {
      return bad("is not kept by a slot with ", row.hits, " hits and payload_history ", spec.payload_history);
    }
    if (!seen.emplace(payload.row(), payload.place()).second) return bad("appears twice");
    if (payload.data().empty()) return bad("is empty");
    if (payload.data().size() > kMaxPayloadBytes) {
      return TooLarge("exact.payloads", absl::StrCat("bytes of a payload of row ", payload.row()), payload.data().size(), kMaxPayloadBytes);
    }
    row.payloads.push_back({static_cast<uint16_t>(payload.place()), Step(payload.step()), std::move(*payload.mutable_data())});
  }
  return absl::OkStatus();
}

absl::Status FillExact(v1::SlotRows* from, const Target& target, ImportCall* call) {
  const uint32_t count = from->rows(), dim = target.spec.key_dim;
  if (count == 0) return BadShape("exact has no rows");
  if (count > target.limits.max_rows) return TooLarge("rows", "rows of an import", count, target.limits.max_rows);
  EVOKE_ASSIGN_OR_RETURN(const auto slots, Column<uint64_t>("slots", from->slots(), count));
  EVOKE_ASSIGN_OR_RETURN(const auto values, Column<int64_t>("values", from->values(), count));
  EVOKE_ASSIGN_OR_RETURN(const auto steps, Column<uint64_t>("written_steps", from->written_steps(), count));
  EVOKE_ASSIGN_OR_RETURN(const auto hits, Column<uint32_t>("hits", from->hits(), count));
  EVOKE_ASSIGN_OR_RETURN(const auto keys, Column<float>("keys", from->keys(), size_t{count} * dim));
  absl::flat_hash_set<uint64_t> distinct;
  for (uint32_t i = 0; i < count; ++i) {
    const auto key = keys.begin() + size_t{i} * dim;
    call->rows.push_back({.slot = slots[i], .value = values[i], .written_step = steps[i], .hits = hits[i], .key = {key, key + dim}});
    EVOKE_RETURN_IF_ERROR(CheckExactRow(call->rows.back(), target.spec, i));
    if (!distinct.insert(slots[i]).second) {
      return BadArgument("exact.slots", absl::StrCat("slot ", slots[i], " appears twice"));
    }
    if (steps[i] <= (i == 0 ? 0 : steps[i - 1])) {
      return BadArgument("exact.written_steps", absl::StrCat("row ", i, " was written at step ", steps[i], ", expects ascending steps"));
    }
    if (steps[i] > kMaxStep) {
      return BadArgument("exact.written_steps", absl::StrCat("row ", i, " was written at step ", steps[i], ", the last one is ", kMaxStep));
    }
  }
  return TakePlacedPayloads(from, target.spec, &call->rows);
}

absl::Status FillNew(v1::NewRows* from, const Target& target, ImportCall* call) {
  EVOKE_RETURN_IF_ERROR(CheckShape("import", from->embeddings(), target));
  const uint32_t count = from->embeddings().rows(), dim = target.spec.key_dim;
  if (from->values().size() != size_t{count} * 8) {
    return BadShape(absl::StrCat("import has ", from->values().size(), " bytes of values, ", count, " rows take ", size_t{count} * 8));
  }
  if (from->payloads_size() != 0 && static_cast<uint32_t>(from->payloads_size()) != count) {
    return BadShape(absl::StrCat("import has ", from->payloads_size(), " payloads, expects none or one for each of ", count, " rows"));
  }
  EVOKE_ASSIGN_OR_RETURN(RowSet rows, DecodeRows(from->embeddings(), ""));
  EVOKE_RETURN_IF_ERROR(NormaliseRows("import", target.memory, &rows));
  for (uint32_t i = 0; i < count; ++i) {
    const auto key = rows.unit.begin() + size_t{i} * dim;
    ImportRow row{.key = {key, key + dim}};
    std::memcpy(&row.value, from->values().data() + size_t{i} * 8, 8);
    if (from->payloads_size() > 0) {
      std::string& payload = *from->mutable_payloads(static_cast<int>(i));
      if (payload.size() > kMaxPayloadBytes) {
        return TooLarge("payloads", absl::StrCat("bytes of the payload of row ", i), payload.size(), kMaxPayloadBytes);
      }
      if (!payload.empty() && target.spec.payload_history > 0) row.payloads.push_back({.place = 0, .bytes = std::move(payload)});
    }
    call->rows.push_back(std::move(row));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImportCall> ToImportCall(v1::ImportRequest&& request, const Target& target) {
  if (!request.has_mutation()) return BadArgument("mutation", "an import has no mutation, expects a session and a number");
  ImportCall call{.exact = request.has_exact(), .encode = EncodeImport};
  switch (request.source_case()) {
    case v1::ImportRequest::kExact:
      EVOKE_RETURN_IF_ERROR(FillExact(request.mutable_exact(), target, &call));
      break;
    case v1::ImportRequest::kNewRows:
      EVOKE_RETURN_IF_ERROR(FillNew(request.mutable_new_rows(), target, &call));
      break;
    default:
      return BadArgument("source", "an import has neither exact nor new_rows");
  }
  if (request.has_step_after()) {
    if (!call.exact) return BadArgument("step_after", "step_after goes with exact rows");
    if (request.step_after() < call.rows.back().written_step) {
      return BadArgument("step_after", absl::StrCat("step_after is ", request.step_after(), ", but a row was written at step ",
                                                    call.rows.back().written_step));
    }
    if (request.step_after() > kMaxStep) {
      return BadArgument("step_after", absl::StrCat("step_after is ", request.step_after(), ", the last one is ", kMaxStep));
    }
    call.step_after = request.step_after();
  }
  EVOKE_ASSIGN_OR_RETURN(call.mutation, ToMutation(request.mutation()));
  call.mutation->digest = DigestOf(call);
  return call;
}

std::string EncodeImport(const ImportReply& reply) {
  v1::ImportResponse response;
  FillStoredHeader(reply.state, response.mutable_header());
  response.set_slots(ToBytes(reply.slots));
  response.set_live_slots(reply.live_count);
  response.set_state_hash(reply.state_hash.ToString());
  return response.SerializeAsString();
}

v1::SlotRows ToProto(std::vector<ImportRow> rows) {
  v1::SlotRows to;
  to.set_rows(static_cast<uint32_t>(rows.size()));
  const auto append = [](std::string* column, const auto& value) {
    column->append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (uint32_t i = 0; i < rows.size(); ++i) {
    ImportRow& row = rows[i];
    append(to.mutable_slots(), row.slot);
    append(to.mutable_values(), row.value);
    append(to.mutable_written_steps(), row.written_step);
    append(to.mutable_hits(), row.hits);
    to.mutable_keys()->append(reinterpret_cast<const char*>(row.key.data()), row.key.size() * sizeof(float));
    for (PayloadRow& p : row.payloads) {
      v1::PlacedPayload* payload = to.add_payloads();
      payload->set_row(i);
      payload->set_place(p.place);
      payload->set_step(p.step.value);
      payload->set_data(std::move(p.bytes));
    }
  }
  return to;
}

uint32_t ChunkRows(uint32_t asked, const MemorySpec& spec, uint64_t max_message_bytes) {
  const uint64_t row = uint64_t{spec.key_dim} * sizeof(float) + 8 + 8 + 8 + 4;
  const uint64_t whole_row = row + spec.payload_history * (kMaxPayloadBytes + 32);
  const uint64_t most = std::max<uint64_t>(1, (max_message_bytes - 4096) / whole_row);
  const uint64_t wanted = asked > 0 ? asked : std::max<uint64_t>(1, (uint64_t{1} << 20) / row);
  return static_cast<uint32_t>(std::min(wanted, most));
}

}  // namespace evoke
