// Import and Export: rows of slots between proto and plain values.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/engine/task.h"
#include "server/service/convert.h"

namespace evoke {

// Everything but `done`. Exact rows are checked for what an engine relies on: ids below the capacity and none twice,
// ascending steps, unit keys, payloads in places that their hits make valid.
absl::StatusOr<ImportCall> ToImportCall(v1::ImportRequest&& request, const Target& target);
std::string EncodeImport(const ImportReply& reply);

v1::SlotRows ToProto(std::vector<ImportRow> rows);
// Rows a message of an export may have: what was asked for, 1 MiB when nothing was, and never more than a message takes.
uint32_t ChunkRows(uint32_t asked, const MemorySpec& spec, uint64_t max_message_bytes);

}  // namespace evoke
