// What evokectl prints: every result is one JSON value, shown as it is or as a table.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "evoke/client.h"
#include "evoke/snapshots.h"
#include "nlohmann/json.hpp"

namespace evoke::cli {

using Json = nlohmann::ordered_json;

enum class Format { kTable, kJson };

// Field names are those of the protos; ids are hex, enumerators names.
Json ToJson(const client::MemorySpec& spec);
Json ToJson(const client::MemoryDescription& description);
Json ToJson(const client::ServerStatus& status);
Json ToJson(const client::MemoryPlan& plan);
Json ToJson(const client::ReplyHeader& header);
// With its text beside the fields, which is what --token takes.
Json ToJson(const client::SnapshotToken& token);
Json ToJson(const client::Snapshot& snapshot);
Json ToJson(const client::RestoreResult& restored);
Json ToJson(const absl::Status& error);

// Rows of an answer, with their neighbors if they were asked for, numbered from `first_row` on.
Json RowsToJson(const client::QueryResult& result, uint64_t first_row);
Json RowsToJson(const client::UpdateResult& result, uint64_t first_row);
// With its age at `step`, which is that of the memory.
Json ToJson(const client::Slot& slot, uint64_t step);
// Text where it is UTF-8, else base64.
Json ToJson(const std::vector<client::Payload>& payloads);

// The shortest decimal that reads back as this float: 0.1, not 0.10000000149011612.
double Shortest(float number);

// kJson: indented, with a newline. kTable: an object as one line a field, inner fields as "spec.key_dim"; an
// array of memories, snapshots, rows, slots or values as aligned columns, under the fields of the object that holds it.
void Print(const Json& value, Format format, std::ostream& out);

}  // namespace evoke::cli
