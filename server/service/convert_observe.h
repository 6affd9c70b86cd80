// Update, TrainStep and ClearMemory: requests to calls, and the encoders of their stored replies.
#pragma once

#include "absl/status/statusor.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/engine/task.h"
#include "server/service/convert.h"

namespace evoke {

// Calls without `done`, with `encode` and, if some row writes, the mutation with its digest. Payloads are
// moved out of the request. Refuses with BAD_SHAPE, TOO_LARGE, NON_FINITE, BAD_NORM or BAD_ARGUMENT.
absl::StatusOr<ObserveCall> ToObserveCall(v1::UpdateRequest&& request, const Target& target);
absl::StatusOr<ObserveCall> ToObserveCall(v1::TrainStepRequest&& request, const Target& target);
absl::StatusOr<ClearCall> ToClearCall(const v1::ClearMemoryRequest& request);

// Stored replies, as `encode` makes them.
std::string EncodeUpdate(const ObserveReply& reply);
std::string EncodeTrainStep(const ObserveReply& reply);
std::string EncodeClear(const ClearReply& reply);

}  // namespace evoke
