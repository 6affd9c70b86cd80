#include "client/cli/import_file.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"
#include "evoke/transfers.h"

namespace evoke::cli {
namespace {

constexpr uint64_t kChunkBytes = 1 << 20;  // a turn of its own each, so neither many small nor few huge ones
constexpr uint64_t kComparedRows = 16;     // the last ones that seem to be in, when an import is continued

absl::Status Problem(absl::StatusCode code, absl::string_view reason, const std::string& message) {
  absl::Status status(code, message);
  client::ErrorDetails details;
  details.reason = std::string(reason);
  client::SetErrorDetails(details, &status);
  return status;
}

// The first of items first to count - 1 of a sorted column that is above `limit`; found by bisection, for the
// column may be larger than the RAM.
absl::StatusOr<uint64_t> FirstAbove(const ExportFile& file, Column column, uint64_t count, uint64_t limit) {
  uint64_t low = 0, high = count;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    const auto item = file.Read<uint64_t>(column, middle, 1);
    if (!item.ok()) return item.status();
    if (item->front() <= limit) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// One import under way.
class Importer {
 public:
  Importer(client::Memory memory, const ExportFile& file, uint64_t max_rows, const ImportFileOptions& options)
      : memory_(std::move(memory)), file_(file), max_rows_(max_rows), options_(options) {}

  absl::Status Run() {
    absl::StatusOr<uint64_t> done = RowsIn();
    if (!done.ok()) return done.status();
    for (uint64_t at = *done; at < file_.counts().rows;) {
      Tell(at);
      const absl::StatusOr<client::SlotRows> rows = Chunk(at);
      if (!rows.ok()) return rows.status();
      at += rows->rows();
      client::ImportSlotsRequest request{.rows = *rows};
      if (at == file_.counts().rows) request.step_after = file_.step();
      if (const auto imported = memory_.Import(request, Left()); !imported.ok()) return imported.status();
    }
    Tell(file_.counts().rows);
    return absl::OkStatus();
  }

  absl::StatusOr<client::StateHashResult> Compare() {
    absl::StatusOr<client::StateHashResult> now = memory_.StateHash(Left());
    if (!now.ok()) return now.status();
    // Without rows there is no chunk that could set the step.
    const bool step_fits = file_.counts().rows == 0 || now->header.step == file_.step();
    if (step_fits && now->state_hash == file_.state_hash()) return now;
    return Problem(absl::StatusCode::kDataLoss, "STATE_DIFFERS",
                   absl::StrCat("memory \"", memory_.name(), "\" is at step ", now->header.step,
                                " with state hash ", now->state_hash, " after the import, ", file_.path(),
                                " says step ", file_.step(), " and ", file_.state_hash()));
  }

 private:
  client::CallOptions Left() const {
    return {.deadline = std::max(options_.deadline - options_.clock.Now(), absl::Milliseconds(1))};
  }
  void Tell(uint64_t done) const {
    if (options_.progress != nullptr) options_.progress("import", done, file_.counts().rows);
  }

  // How many rows the memory holds already. The file's rows are in the order of their steps and a chunk is
  // all or nothing, so the step alone says how far an earlier call came, if it was that call that filled the
  // memory; the count and the latest rows must agree too.
  absl::StatusOr<uint64_t> RowsIn() {
    const absl::StatusOr<client::MemoryDescription> now = memory_.Describe(Left());
    if (!now.ok()) return now.status();
    const uint64_t count = file_.counts().rows;
    const absl::StatusOr<uint64_t> done = FirstAbove(file_, kWrittenSteps, count, now->step);
    if (!done.ok()) return done.status();
    bool fits = *done == now->live_slots;
    if (fits && *done > 0 && *done < count) {
      const auto last = file_.Read<uint64_t>(kWrittenSteps, *done - 1, 1);
      if (!last.ok()) return last.status();
      fits = last->front() == now->step;
    }
    if (!fits) {
      return Problem(
          absl::StatusCode::kFailedPrecondition, "SLOT_TAKEN",
          absl::StrCat("memory \"", memory_.name(), "\" has ", now->live_slots, " slots at step ", now->step,
                       ", the first ", *done, " rows of ", file_.path(), " belong to that step"));
    }
    const uint64_t first = *done - std::min(*done, kComparedRows);
    const absl::StatusOr<client::SlotRows> expected = Columns(first, *done);
    if (!expected.ok() || *done == 0) return expected.ok() ? done : expected.status();
    const auto held = memory_.GetSlots({.slots = expected->slots, .keys = true}, Left());
    if (!held.ok()) return held.status();
    for (size_t i = 0; fits && i < expected->rows(); ++i) fits = SameRow(*expected, i, held->slots);
    if (fits) return done;
    return Problem(absl::StatusCode::kFailedPrecondition, "SLOT_TAKEN",
                   absl::StrCat("memory \"", memory_.name(), "\" holds other rows than ", file_.path()));
  }

  bool SameRow(const client::SlotRows& rows, size_t i, const std::vector<client::Slot>& held) const {
    if (i >= held.size()) return false;
    const client::Slot& slot = held[i];
    const uint64_t dim = file_.counts().key_dim;
    return slot.slot == rows.slots[i] && slot.value == rows.values[i] &&
           slot.written_step == rows.written_steps[i] && slot.hits == rows.hits[i] &&
           std::equal(slot.key.begin(), slot.key.end(), rows.keys.begin() + static_cast<ptrdiff_t>(i * dim),
                      rows.keys.begin() + static_cast<ptrdiff_t>((i + 1) * dim));
  }

  // Rows first to end - 1 without their payloads.
  absl::StatusOr<client::SlotRows> Columns(uint64_t first, uint64_t end) const {
    const uint64_t count = end - first, dim = file_.counts().key_dim;
    auto slots = file_.Read<uint64_t>(kSlots, first, count);
    auto values = file_.Read<int64_t>(kValues, first, count);
    auto steps = file_.Read<uint64_t>(kWrittenSteps, first, count);
    auto hits = file_.Read<uint32_t>(kHits, first, count);
    auto keys = file_.Read<float>(kKeys, first * dim, count * dim);
    for (const absl::Status& status :
         {slots.status(), values.status(), steps.status(), hits.status(), keys.status()}) {
      if (!status.ok()) return status;
    }
    return client::SlotRows{.slots = *std::move(slots),
                            .values = *std::move(values),
                            .written_steps = *std::move(steps),
                            .hits = *std::move(hits),
                            .keys = *std::move(keys)};
  }

  // The next rows, about kChunkBytes of them with their payloads, at least one.
  absl::StatusOr<client::SlotRows> Chunk(uint64_t first) {
    const uint64_t row_bytes = 28 + 4 * file_.counts().key_dim;
    const uint64_t most = std::max<uint64_t>(1, std::min(max_rows_, kChunkBytes / row_bytes));
    uint64_t end = std::min(file_.counts().rows, first + most);
    // The payloads of these rows begin where those of the rows before end.
    const uint64_t count = file_.counts().payloads;
    absl::StatusOr<uint64_t> begin = first == 0 ? 0 : FirstAbove(file_, kPayloadRows, count, first - 1);
    absl::StatusOr<uint64_t> stop = FirstAbove(file_, kPayloadRows, count, end - 1);
    if (!begin.ok() || !stop.ok()) return begin.ok() ? stop.status() : begin.status();
    const auto rows_of = file_.Read<uint64_t>(kPayloadRows, *begin, *stop - *begin);
    const auto places = file_.Read<uint16_t>(kPayloadPlaces, *begin, *stop - *begin);
    const auto steps = file_.Read<uint64_t>(kPayloadSteps, *begin, *stop - *begin);
    const auto ends = file_.Read<uint64_t>(kPayloadEnds, *begin, *stop - *begin);
    for (const absl::Status& status : {rows_of.status(), places.status(), steps.status(), ends.status()}) {
      if (!status.ok()) return status;
    }
    uint64_t start = 0;
    if (*begin > 0) {
      const auto before = file_.Read<uint64_t>(kPayloadEnds, *begin - 1, 1);
      if (!before.ok()) return before.status();
      start = before->front();
    }
    // Rows end before the payload that would be too much, but for the first row, which goes alone if it must.
    const uint64_t origin = start;
    for (size_t i = 0; i < rows_of->size(); ++i) {
      const uint64_t row = (*rows_of)[i];
      if ((*ends)[i] - origin + row_bytes * (row + 1 - first) <= kChunkBytes || row == first) continue;
      end = row;
      break;
    }
    absl::StatusOr<client::SlotRows> rows = Columns(first, end);
    if (!rows.ok()) return rows.status();
    for (size_t i = 0; i < rows_of->size() && (*rows_of)[i] < end; ++i) {
      const auto bytes = file_.Read<char>(kPayloadBytes, start, (*ends)[i] - start);
      if (!bytes.ok()) return bytes.status();
      rows->payloads.push_back({.row = static_cast<uint32_t>((*rows_of)[i] - first),
                                .place = (*places)[i],
                                .step = (*steps)[i],
                                .data = std::string(bytes->begin(), bytes->end())});
      start = (*ends)[i];
    }
    return rows;
  }

  client::Memory memory_;
  const ExportFile& file_;
  const uint64_t max_rows_;
  const ImportFileOptions& options_;
};

}  // namespace

absl::StatusOr<client::StateHashResult> ImportFile(client::Client& client, const ExportFile& file,
                                                   const ImportFileOptions& options) {
  const absl::StatusOr<client::ServerStatus> server = client.Status();
  if (!server.ok()) return server.status();
  const absl::StatusOr<client::CreateMemoryResult> memory =
      client.CreateMemory(options.name, file.spec(), {.if_not_exists = true});
  if (!memory.ok()) return memory.status();
  Importer importer(memory->memory, file, server->limits.max_rows, options);
  if (absl::Status status = importer.Run(); !status.ok()) return status;
  return importer.Compare();
}

}  // namespace evoke::cli
