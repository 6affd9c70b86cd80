#include "client/load/memory_setup.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "evoke/transfers.h"

namespace evoke::load {
namespace {

constexpr uint64_t kFillStream = uint64_t{1} << 41;  // lanes and their choices are below
// Of one Import: a turn long enough to be worth its sync, and short enough for others to go between.
constexpr uint64_t kChunkBytes = 4 << 20;

}  // namespace

absl::StatusOr<client::Memory> OpenMemory(client::Client& client, const MemoryOptions& options, bool fresh) {
  if (!options.create) return client.OpenMemory(options.name);
  absl::StatusOr<client::CreateMemoryResult> made =
      client.CreateMemory(options.name, options.spec, {.if_not_exists = !fresh});
  if (!made.ok()) return made.status();
  if (fresh && !made->created) {
    return absl::AlreadyExistsError(absl::StrCat("memory \"", options.name, "\" exists already"));
  }
  return made->memory;
}

RowSource::Options RowsFor(RowSource::Options rows, const client::MemoryDescription& memory) {
  rows.dim = memory.spec.key_dim;
  if (rows.values == 0) rows.values = static_cast<int64_t>(std::max<uint64_t>(1, memory.spec.capacity / 8));
  return rows;
}

absl::Status Fill(client::Memory memory, const RowSource& rows, const client::Limits& limits,
                  uint64_t live_slots, const std::function<void(uint64_t)>& note,
                  const std::function<bool()>& stop) {
  const absl::StatusOr<client::MemoryDescription> description = memory.Describe();
  if (!description.ok()) return description.status();
  if (live_slots > description->spec.capacity) {
    return absl::InvalidArgumentError(absl::StrCat("memory \"", memory.name(), "\" has ",
                                                   description->spec.capacity, " slots, cannot fill ",
                                                   live_slots));
  }
  const uint64_t row_bytes = uint64_t{rows.dim()} * sizeof(float) + sizeof(int64_t);
  const uint64_t chunk = std::clamp<uint64_t>(std::min(kChunkBytes, limits.max_message_bytes / 2) / row_bytes,
                                              1, std::max<uint32_t>(limits.max_rows, 1));
  std::string embeddings;
  std::string values;
  for (uint64_t live = description->live_slots; live < live_slots;) {
    if (stop()) return absl::CancelledError("interrupted while filling");
    const uint32_t count = static_cast<uint32_t>(std::min(chunk, live_slots - live));
    rows.Fill(kFillStream, live, count, &embeddings, &values);
    std::vector<int64_t> numbers(count);
    std::memcpy(numbers.data(), values.data(), values.size());
    const client::MatrixView matrix{.bytes = embeddings, .rows = count, .dim = rows.dim()};
    const absl::StatusOr<client::ImportResult> result =
        memory.Import({.embeddings = matrix, .values = numbers});
    if (!result.ok()) return result.status();
    live = result->live_slots;
    note(live);
  }
  return absl::OkStatus();
}

}  // namespace evoke::load
