// The matrix of a request: from bytes to validated unit rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "evoke/v1/types.pb.h"
#include "server/engine/task.h"
#include "server/service/convert.h"

namespace evoke {

// Checks rows, dim, dtype and byte length without reading an element: BAD_SHAPE, TOO_LARGE. `what` begins the
// messages: "query", "update", "train step".
absl::Status CheckShape(const char* what, const v1::Matrix& matrix, const Target& target);

// The rows widened to float32, exactly, but not normalised: `unit` is as sent, `norms` is empty. Rows with
// skip are zeros whatever was sent for them. Requires: CheckShape was OK.
absl::StatusOr<RowSet> DecodeRows(const v1::Matrix& matrix, std::string_view skip);

// Normalises the rows in place and sets `norms`. NON_FINITE and BAD_NORM name the row; rows with skip are
// passed over.
absl::Status NormaliseRows(const char* what, const std::string& memory, RowSet* rows);

// Exact: every binary16 is a binary32. NaN payloads are kept in their upper bits.
float WidenFloat16(uint16_t half);
float WidenBfloat16(uint16_t upper);

}  // namespace evoke
