// What a memory answers and holds, as JSON.
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "evoke/names.h"

namespace evoke::cli {
namespace {

Json NeighborsOf(const client::QueryResult& result, size_t row) {
  Json neighbors = Json::array();
  for (size_t i = row * result.neighbor_count; i < (row + 1) * result.neighbor_count; ++i) {
    Json neighbor = {{"slot", result.neighbor_slots[i]},
                     {"value", result.neighbor_values[i]},
                     {"similarity", Shortest(result.neighbor_similarities[i])},
                     {"weight", Shortest(result.neighbor_weights[i])},
                     {"age", result.neighbor_ages[i]}};
    for (const client::SlotPayloads& held : result.payloads) {
      if (held.slot == result.neighbor_slots[i]) neighbor["payloads"] = ToJson(held.payloads);
    }
    neighbors.push_back(std::move(neighbor));
  }
  return neighbors;
}

bool IsUtf8(const std::string& text) {
  // The library's own check is the one that decides whether it can be printed.
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace

double Shortest(float number) {
  for (int digits = 6; digits < 9; ++digits) {
    const double decimal = std::strtod(absl::StrFormat("%.*g", digits, number).c_str(), nullptr);
    if (static_cast<float>(decimal) == number) return decimal;
  }
  return number;
}

Json RowsToJson(const client::QueryResult& result, uint64_t first_row) {
  Json rows = Json::array();
  for (size_t r = 0; r < result.rows; ++r) {
    const bool answered = result.answered[r] != 0;
    Json row = {{"row", first_row + r},
                {"value", answered ? Json(result.values[r]) : Json()},
                {"confidence", answered ? Json(Shortest(result.confidences[r])) : Json()}};
    if (!result.neighbor_slots.empty()) row["neighbors"] = NeighborsOf(result, r);
    rows.push_back(std::move(row));
  }
  return rows;
}

Json RowsToJson(const client::UpdateResult& result, uint64_t first_row) {
  Json rows = Json::array();
  for (size_t r = 0; r < result.rows; ++r) {
    const bool written = result.slots[r] != client::kNoSlot;
    rows.push_back({{"row", first_row + r},
                    {"outcome", Name(result.outcomes[r])},
                    {"slot", written ? Json(result.slots[r]) : Json()}});
  }
  return rows;
}

Json ToJson(const client::Slot& slot, uint64_t step) {
  Json json = {{"slot", slot.slot},
               {"value", slot.value},
               {"age", step > slot.written_step ? step - slot.written_step : 0},
               {"hits", slot.hits},
               {"written_step", slot.written_step}};
  if (!slot.payloads.empty()) json["payloads"] = ToJson(slot.payloads);
  if (!slot.key.empty()) {
    json["key"] = Json::array();
    for (const float number : slot.key) json["key"].push_back(Shortest(number));
  }
  return json;
}

Json ToJson(const std::vector<client::Payload>& payloads) {
  Json json = Json::array();
  for (const client::Payload& payload : payloads) {
    const bool text = IsUtf8(payload.data);
    json.push_back({{"step", payload.step}, {text ? "text" : "base64", text ? payload.data : absl::Base64Escape(payload.data)}});
  }
  return json;
}

}  // namespace evoke::cli
