// The rows of a store besides slots and records, as bytes: format, meta, session, payload. Layouts:
// README.md.
//
// Encode* return the value that belongs under `row_key`; Decode* answer DATA_LOSS naming the row when the
// checksum or the length does not hold, and never read outside `value`.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/record_window.h"
#include "storage/slot_store.h"

namespace evoke {

// What a store was made for; never changes.
struct FormatRow {
  uint32_t key_dim = 0;
  uint32_t partitions = 0;
  uint32_t payload_history = 0;
  friend bool operator==(const FormatRow&, const FormatRow&) = default;
};
std::string EncodeFormatRow(std::string_view row_key, const FormatRow& row);
// FAILED_PRECONDITION for a store of a newer layout, naming both versions.
absl::StatusOr<FormatRow> DecodeFormatRow(std::string_view row_key, std::string_view value);

struct StoredMeta {
  MetaRow meta;
  RecordWindow window;
};
std::string EncodeMetaRow(std::string_view row_key, const MetaRow& meta, const RecordWindow& window);
absl::StatusOr<StoredMeta> DecodeMetaRow(std::string_view row_key, std::string_view value);

std::string EncodeSessionRow(std::string_view row_key, const SessionRow& row);
absl::StatusOr<SessionRow> DecodeSessionRow(std::string_view row_key, const SessionId& id,
                                            std::string_view value);

// `bytes` may be empty: an observation without payload.
std::string EncodePayload(std::string_view row_key, Step step, std::string_view bytes);
absl::StatusOr<Payload> DecodePayload(std::string_view row_key, std::string_view value);

}  // namespace evoke
