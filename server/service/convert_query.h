// Query and GetSlots: requests to calls, answers to replies.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/engine/task.h"
#include "server/service/convert.h"

namespace evoke {

// A call without `done`. Refuses with BAD_SHAPE, TOO_LARGE, NON_FINITE, BAD_NORM or BAD_ARGUMENT. What a
// reply may take is predicted from the capacity, and with payloads as if each were as large as it may be: so
// no accepted request can make a reply that is refused after the work.
absl::StatusOr<QueryCall> ToQueryCall(const v1::QueryRequest& request, const Target& target);
v1::QueryResponse ToResponse(const QueryReply& reply, std::string_view instance);

absl::StatusOr<SlotsCall> ToSlotsCall(const v1::GetSlotsRequest& request, const Target& target);
v1::GetSlotsResponse ToResponse(const SlotsReply& reply, std::string_view instance);

}  // namespace evoke
