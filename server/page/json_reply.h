// Answers of the JSON pages: objects, and errors with the codes and reasons of proto/README.md.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "server/http/http_message.h"

namespace evoke {

using Json = nlohmann::ordered_json;

// 200. Text that is no UTF-8 is replaced, for a message may quote the bytes of a file.
HttpResponse JsonReply(const Json& body);

// {"error": {"code": "NOT_FOUND", "reason": "MEMORY_NOT_FOUND", "message": "...", "metadata": {...}}} with the HTTP status
// that goes with the code, and Retry-After where waiting helps. Requires: `status` is not OK.
HttpResponse JsonError(const absl::Status& status);

}  // namespace evoke
