// What evokectl asks a memory, teaches it, and looks up in it.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "evoke/error_details.h"
#include "evoke/names.h"

namespace evoke::cli {
namespace {

// Slots of one look-up: a scan of a large memory is many short turns, with those of others between them.
constexpr uint32_t kScanSlots = 1024;
constexpr uint32_t kScanLargeSlots = 64;  // with keys or payloads

client::MatrixView Part(const FloatRows& keys, uint32_t first, uint32_t rows) {
  return client::MatrixView::Float32(
      absl::MakeConstSpan(keys.numbers).subspan(size_t{first} * keys.dim, size_t{rows} * keys.dim), rows);
}

void Append(Json part, Json* rows) {
  for (Json& row : part) rows->push_back(std::move(row));
}

}  // namespace

bool Commands::ReadKeys(FloatRows* keys) {
  absl::StatusOr<FloatRows> read = ReadRows(flags_.keys, terminal_.in);
  if (!read.ok()) {
    Usage(absl::StrCat("--keys: ", read.status().message()));
    return false;
  }
  *keys = *std::move(read);
  return true;
}

int Commands::Query() {
  FloatRows keys;
  if (!ReadKeys(&keys)) return kExitUsage;
  if (!Open()) return exit_code_;
  const uint32_t batch = flags_.batch == 0 ? keys.rows : flags_.batch;
  Json json, rows = Json::array();
  {
    ProgressBar bar(BarFor("query of "));
    for (uint32_t first = 0; first < keys.rows; first += batch) {
      const uint32_t count = std::min(batch, keys.rows - first);
      const absl::StatusOr<client::QueryResult> result =
          memory_->Query({.embeddings = Part(keys, first, count),
                          .k = flags_.k,
                          .inverse_temperature = flags_.inverse_temperature,
                          .neighbors = flags_.neighbors,
                          .neighbor_payloads = flags_.with_payloads});
      if (!result.ok()) return Fail(result.status());
      json = ToJson(result->header);
      Append(RowsToJson(*result, first), &rows);
      if (batch < keys.rows) bar.Show("query", first + count, keys.rows);
    }
  }
  json["rows"] = std::move(rows);
  Print(json);
  return kExitOk;
}

int Commands::Update() {
  if (flags_.keys == "-" && flags_.labels == "-") return Usage("only one of --keys and --labels can be read from stdin");
  FloatRows keys;
  if (!ReadKeys(&keys)) return kExitUsage;
  const absl::StatusOr<std::vector<int64_t>> labels = ReadIntegers(flags_.labels, terminal_.in);
  if (!labels.ok()) return Usage(absl::StrCat("--labels: ", labels.status().message()));
  std::vector<std::string> payloads;
  if (!flags_.payload_texts.empty()) {
    absl::StatusOr<std::vector<std::string>> texts = ReadTexts(flags_.payload_texts, terminal_.in);
    if (!texts.ok()) return Usage(absl::StrCat("--payloads: ", texts.status().message()));
    payloads = *std::move(texts);
  }
  if (labels->size() != keys.rows || (!payloads.empty() && payloads.size() != keys.rows)) {
    return Usage(absl::StrCat("there are ", keys.rows, " keys and ", labels->size(), " labels",
                              payloads.empty() ? "" : absl::StrCat(" and ", payloads.size(), " payloads"),
                              ", expected as many of each"));
  }
  const std::vector<absl::string_view> payload_views(payloads.begin(), payloads.end());
  if (!Open()) return exit_code_;

  const uint32_t batch = flags_.batch == 0 ? keys.rows : flags_.batch;
  Json json, rows = Json::array();
  std::map<std::string, uint64_t> outcomes;
  {
    ProgressBar bar(BarFor("update of "));
    for (uint32_t first = 0; first < keys.rows; first += batch) {
      const uint32_t count = std::min(batch, keys.rows - first);
      // Under a session and a number of the library's, so that it is applied once however often it is sent.
      const absl::StatusOr<client::UpdateResult> result = memory_->Update(
          {.embeddings = Part(keys, first, count),
           .values = absl::MakeConstSpan(*labels).subspan(first, count),
           .payloads = payloads.empty() ? absl::Span<const absl::string_view>()
                                        : absl::MakeConstSpan(payload_views).subspan(first, count)});
      if (!result.ok()) {
        if (first > 0) terminal_.err << "evokectl: the first " << first << " of " << keys.rows << " rows are written\n";
        return Fail(result.status());
      }
      json = ToJson(result->header);
      for (const client::Outcome outcome : result->outcomes) ++outcomes[Name(outcome)];
      Append(RowsToJson(*result, first), &rows);
      if (batch < keys.rows) bar.Show("update", first + count, keys.rows);
    }
  }
  json["outcomes"] = outcomes;
  json["rows"] = std::move(rows);
  Print(json);
  return kExitOk;
}

int Commands::Slots() {
  if (!flags_.slots.empty() + !flags_.values.empty() + flags_.oldest + flags_.after.has_value() > 1)
    return Usage("give at most one of --slot, --value, --oldest and --after");
  if (!Open()) return exit_code_;
  Json next;
  absl::StatusOr<client::GetSlotsResult> result;
  if (!flags_.slots.empty() || !flags_.values.empty()) {
    result = memory_->GetSlots({.slots = flags_.slots,
                                .values = flags_.values,
                                .limit = flags_.values.empty() ? 0 : flags_.limit,
                                .keys = flags_.with_keys,
                                .payloads = flags_.with_payloads});
  } else {
    result = ScanSlots(&next);
  }
  if (!result.ok()) return Fail(result.status());
  const uint64_t step = result->header.step;
  Json json = ToJson(result->header), slots = Json::array(), values = Json::array();
  for (const client::Slot& slot : result->slots) slots.push_back(ToJson(slot, step));
  for (const client::ValueSlots& of : result->values) {
    values.push_back({{"value", of.value}, {"live_slots", of.live_slots}, {"observations", of.observations}});
    for (const client::Slot& slot : of.slots) slots.push_back(ToJson(slot, step));
  }
  if (!flags_.values.empty()) json["values"] = std::move(values);
  if (flags_.values.empty() && flags_.slots.empty() && !flags_.oldest) json["next"] = next;
  json["slots"] = std::move(slots);
  Print(json);
  return kExitOk;
}

absl::StatusOr<client::GetSlotsResult> Commands::ScanSlots(Json* next) {
  const absl::StatusOr<client::ServerStatus> status = client_->Status();
  if (!status.ok()) return status.status();
  const absl::StatusOr<client::MemoryDescription> description = memory_->Describe();
  if (!description.ok()) return description.status();
  const uint64_t capacity = description->spec.capacity;
  const bool details_now = !flags_.oldest && (flags_.with_keys || flags_.with_payloads);
  const uint64_t chunk = std::min<uint64_t>(details_now ? kScanLargeSlots : kScanSlots, status->limits.max_rows);
  const auto older = [](const client::Slot& a, const client::Slot& b) { return a.written_step < b.written_step; };

  client::GetSlotsResult found;
  ProgressBar bar(BarFor("scan of "));
  uint64_t at = flags_.after.has_value() ? *flags_.after + 1 : 0;
  while (at < capacity && (flags_.oldest || found.slots.size() < flags_.limit)) {
    std::vector<uint64_t> asked;
    for (const uint64_t end = std::min(capacity, at + chunk); at < end; ++at) asked.push_back(at);
    absl::StatusOr<client::GetSlotsResult> part = memory_->GetSlots(
        {.slots = asked, .keys = details_now && flags_.with_keys, .payloads = details_now && flags_.with_payloads});
    if (!part.ok()) return part.status();
    found.header = std::move(part->header);
    for (client::Slot& slot : part->slots) found.slots.push_back(std::move(slot));
    if (flags_.oldest && found.slots.size() > flags_.limit) {  // never more than a page and the best so far
      std::nth_element(found.slots.begin(), found.slots.begin() + flags_.limit, found.slots.end(), older);
      found.slots.resize(flags_.limit);
    }
    if (capacity > chunk) bar.Show("scan", at, capacity);
  }
  if (flags_.oldest) {
    std::sort(found.slots.begin(), found.slots.end(), older);
    if (!flags_.with_keys && !flags_.with_payloads) return found;
    std::vector<uint64_t> asked;
    for (const client::Slot& slot : found.slots) asked.push_back(slot.slot);
    return memory_->GetSlots({.slots = asked, .keys = flags_.with_keys, .payloads = flags_.with_payloads});
  }
  const bool more = found.slots.size() > flags_.limit || at < capacity;
  if (found.slots.size() > flags_.limit) found.slots.resize(flags_.limit);
  if (more && !found.slots.empty()) *next = found.slots.back().slot;
  return found;
}

}  // namespace evoke::cli
