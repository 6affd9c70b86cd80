#include "client/cli/output.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"
#include "evoke/names.h"

namespace evoke::cli {
namespace {

using client::Name;

template <typename T>
void SetIfPresent(Json& json, const char* field, const std::optional<T>& value) {
  if (!value.has_value()) {
    json[field] = nullptr;
  } else if constexpr (std::is_same_v<T, float>) {
    json[field] = Shortest(*value);
  } else {
    json[field] = *value;
  }
}

std::string Cell(const Json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void Flatten(const std::string& prefix, const Json& value,
             std::vector<std::pair<std::string, std::string>>* lines) {
  for (const auto& [field, inner] : value.items()) {
    const std::string name = prefix.empty() ? field : absl::StrCat(prefix, ".", field);
    if (inner.is_object()) {
      Flatten(name, inner, lines);
    } else if (!inner.is_array()) {
      lines->emplace_back(name, Cell(inner));
    }
  }
}

using Row = std::vector<std::string>;

void PrintAligned(const std::vector<Row>& rows, std::ostream& out) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      absl::StrAppend(&line, row[i], std::string(last ? 0 : widths[i] + 2 - row[i].size(), ' '));
    }
    out << line << '\n';
  }
}

void PrintMemories(const Json& memories, std::ostream& out) {
  std::vector<Row> rows = {
      {"NAME", "STATE", "KEY_DIM", "LIVE", "CAPACITY", "STEP", "EPOCH", "DURABILITY", "UID"}};
  for (const Json& memory : memories) {
    const Json& spec = memory.at("spec");
    rows.push_back({Cell(memory.at("name")), Cell(memory.at("state")), Cell(spec.at("key_dim")),
                    Cell(memory.at("live_slots")), Cell(spec.at("capacity")), Cell(memory.at("step")),
                    Cell(memory.at("epoch")), Cell(spec.at("durability")), Cell(memory.at("uid"))});
  }
  PrintAligned(rows, out);
}

// Objects that are alike: a column for each of their plain fields, and below them a table of what they have inside, each
// line of it with the first field of whom it belongs to.
void PrintObjects(const Json& objects, std::ostream& out) {
  if (objects.empty()) return;
  std::vector<Row> rows(1);
  Json inner = Json::array();
  for (const auto& [field, value] : objects.front().items()) {
    if (!value.is_structured()) rows[0].push_back(absl::AsciiStrToUpper(field));
  }
  for (const Json& object : objects) {
    Row& row = rows.emplace_back();
    for (const auto& [field, value] : object.items()) {
      if (!value.is_structured()) row.push_back(Cell(value));
      if (!value.is_array() || value.empty() || !value.front().is_object()) continue;
      for (const Json& part : value) {
        Json line = {{object.begin().key(), object.begin().value()}};
        line.update(part);
        inner.push_back(std::move(line));
      }
    }
    row.resize(rows[0].size(), "-");
  }
  PrintAligned(rows, out);
  if (inner.empty()) return;
  out << '\n';
  PrintObjects(inner, out);
}

void PrintSnapshots(const Json& snapshots, std::ostream& out) {
  std::vector<Row> rows = {{"ID", "MEMORY", "STEP", "LIVE", "BYTES", "SCHEDULED", "TOKEN"}};
  for (const Json& snapshot : snapshots) {
    rows.push_back({Cell(snapshot.at("id")), Cell(snapshot.at("memory")),
                    Cell(snapshot.at("token").at("step")), Cell(snapshot.at("live_slots")),
                    Cell(snapshot.at("bytes")), Cell(snapshot.at("scheduled")),
                    Cell(snapshot.at("token").at("text"))});
  }
  PrintAligned(rows, out);
}

}  // namespace

Json ToJson(const client::MemorySpec& spec) {
  Json json = {{"key_dim", spec.key_dim},
               {"capacity", spec.capacity},
               {"seed", spec.seed},
               {"write_rule", Name(spec.write_rule)}};
  SetIfPresent(json, "choose_k", spec.choose_k);
  SetIfPresent(json, "margin", spec.margin);
  SetIfPresent(json, "inverse_temperature", spec.inverse_temperature);
  SetIfPresent(json, "age_noise", spec.age_noise);
  json["batch"] = Name(spec.batch);
  SetIfPresent(json, "merge_on_miss", spec.merge_on_miss);
  SetIfPresent(json, "fold_misses", spec.fold_misses);
  SetIfPresent(json, "payload_history", spec.payload_history);
  SetIfPresent(json, "partitions", spec.partitions);
  json["durability"] = Name(spec.durability);
  return json;
}

Json ToJson(const client::MemoryDescription& description) {
  return {{"name", description.name},
          {"uid", description.uid.ToHex()},
          {"state", Name(description.state)},
          {"message", description.message},
          {"epoch", description.epoch},
          {"turn", description.turn},
          {"step", description.step},
          {"live_slots", description.live_slots},
          {"distinct_values", description.distinct_values},
          {"state_hash", description.state_hash},
          {"shards", description.shards},
          {"index", description.index},
          {"ram_bytes", description.ram_bytes},
          {"stored_bytes", description.stored_bytes},
          {"sessions", description.sessions},
          {"slots_loaded", description.slots_loaded},
          {"slots_to_load", description.slots_to_load},
          {"first_kept_turn", description.first_kept_turn},
          {"spec", ToJson(description.spec)}};
}

Json ToJson(const client::ServerStatus& status) {
  const client::Limits& limits = status.limits;
  Json json = {{"version", status.version},
               {"instance", status.instance.ToHex()},
               {"state", Name(status.state)},
               {"uptime_seconds", status.uptime_seconds},
               {"simd", status.simd},
               {"arithmetic_fingerprint", status.arithmetic_fingerprint},
               {"limits",
                {{"max_message_bytes", limits.max_message_bytes},
                 {"max_rows", limits.max_rows},
                 {"max_k", limits.max_k},
                 {"max_payload_bytes", limits.max_payload_bytes},
                 {"mailbox_rows", limits.mailbox_rows},
                 {"max_unacknowledged", limits.max_unacknowledged},
                 {"max_sessions", limits.max_sessions},
                 {"max_memories", limits.max_memories},
                 {"mailbox_bytes", limits.mailbox_bytes},
                 {"max_turn_rows", limits.max_turn_rows},
                 {"memory_budget_bytes", limits.memory_budget_bytes},
                 {"memory_planned_bytes", limits.memory_planned_bytes},
                 {"max_open_exports", limits.max_open_exports},
                 {"max_metadata_bytes", limits.max_metadata_bytes}}},
               {"memories", Json::array()},
               {"alarms", Json::array()}};
  for (const client::MemoryDescription& memory : status.memories) json["memories"].push_back(ToJson(memory));
  for (const client::Alarm& alarm : status.alarms) {
    json["alarms"].push_back({{"name", alarm.name},
                              {"memory", alarm.memory},
                              {"message", alarm.message},
                              {"active_seconds", alarm.active_seconds}});
  }
  return json;
}

Json ToJson(const client::MemoryPlan& plan) {
  return {{"fits", plan.fits},
          {"ram_bytes", plan.ram_bytes},
          {"table_bytes", plan.table_bytes},
          {"index_bytes", plan.index_bytes},
          {"session_bytes", plan.session_bytes},
          {"payload_bytes", plan.payload_bytes},
          {"disk_bytes", plan.disk_bytes},
          {"disk_slot_bytes", plan.disk_slot_bytes},
          {"disk_record_bytes", plan.disk_record_bytes},
          {"disk_headroom_bytes", plan.disk_headroom_bytes},
          {"gpu_bytes", plan.gpu_bytes},
          {"recovery_seconds_estimate", plan.recovery_seconds_estimate},
          {"scan_seconds_estimate", plan.scan_seconds_estimate},
          {"budget_bytes", plan.budget_bytes},
          {"planned_bytes", plan.planned_bytes},
          {"spec", ToJson(plan.spec)}};
}

Json ToJson(const client::ReplyHeader& header) {
  return {{"memory", header.memory}, {"uid", header.uid.ToHex()}, {"epoch", header.epoch},
          {"turn", header.turn},     {"step", header.step},       {"durability", Name(header.durability)}};
}

Json ToJson(const client::SnapshotToken& token) {
  return {{"text", token.ToText()}, {"uid", token.uid.ToHex()}, {"epoch", token.epoch},
          {"turn", token.turn},     {"step", token.step},       {"state_hash", token.state_hash}};
}

Json ToJson(const client::Snapshot& snapshot) {
  return {{"id", snapshot.id},
          {"memory", snapshot.memory},
          {"token", ToJson(snapshot.token)},
          {"live_slots", snapshot.live_slots},
          {"bytes", snapshot.bytes},
          {"files", snapshot.files},
          {"created_unix_ms", snapshot.created_unix_ms},
          {"scheduled", snapshot.scheduled},
          {"spec", ToJson(snapshot.spec)}};
}

Json ToJson(const client::RestoreResult& restored) {
  Json json = ToJson(restored.header);
  json["changed"] = restored.changed;
  json["snapshot"] = ToJson(restored.snapshot);
  return json;
}

Json ToJson(const absl::Status& error) {
  const client::ErrorDetails details = client::GetErrorDetails(error);
  Json json = {{"code", absl::StatusCodeToString(error.code())},
               {"reason", details.reason},
               {"message", std::string(error.message())},
               {"metadata", details.metadata}};
  if (!details.request_id.empty()) json["request_id"] = details.request_id;
  if (details.outcome_unknown) json["outcome_unknown"] = true;
  return {{"error", json}};
}

void Print(const Json& value, Format format, std::ostream& out) {
  if (format == Format::kJson) {
    // Text of others that is not UTF-8 is replaced rather than thrown at.
    out << value.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  std::vector<std::pair<std::string, std::string>> lines;
  Flatten("", value, &lines);
  std::vector<Row> rows;
  for (auto& [field, cell] : lines) rows.push_back({field, cell});
  if (!rows.empty()) PrintAligned(rows, out);
  for (const auto& [field, print] : {std::pair("memories", &PrintMemories), {"snapshots", &PrintSnapshots},
                                     {"rows", &PrintObjects}, {"values", &PrintObjects}, {"slots", &PrintObjects}}) {
    if (!value.contains(field) || !value.at(field).is_array() || value.at(field).empty()) continue;
    if (!rows.empty()) out << '\n';
    print(value.at(field), out);
  }
}

}  // namespace evoke::cli
