// Between the structs of this library and the protos. Internal.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "evoke/requests.h"
#include "evoke/types.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"

namespace evoke::client {

// To the wire. INVALID_ARGUMENT / BAD_SHAPE where an array does not have one element a row and the wire form
// could not say so; everything else is for the server to judge.
absl::Status ToProto(const QueryRequest& request, v1::QueryRequest* proto);
absl::Status ToProto(const UpdateRequest& request, v1::UpdateRequest* proto);
absl::Status ToProto(const TrainStepRequest& request, v1::TrainStepRequest* proto);
void ToProto(const GetSlotsRequest& request, v1::GetSlotsRequest* proto);
void ToProto(const MemorySpec& spec, v1::MemorySpec* proto);

// Whether any row of a request writes: only then it is a mutation. Masks are [rows] or empty.
bool AnyRowWrites(uint32_t rows, absl::Span<const uint8_t> write, absl::Span<const uint8_t> skip);

// From the wire. INTERNAL naming the field whose length contradicts the row count; `key_dim` is the memory's.
absl::StatusOr<QueryResult> FromProto(const v1::QueryResponse& proto, uint32_t key_dim);
absl::StatusOr<UpdateResult> FromProto(const v1::UpdateResponse& proto);
absl::StatusOr<TrainStepResult> FromProto(const v1::TrainStepResponse& proto, uint32_t key_dim);
absl::StatusOr<GetSlotsResult> FromProto(const v1::GetSlotsResponse& proto, uint32_t key_dim);
ReplyHeader FromProto(const v1::ReplyHeader& proto);
MemorySpec FromProto(const v1::MemorySpec& proto);
MemoryDescription FromProto(const v1::MemoryDescription& proto);
MemoryPlan FromProto(const v1::MemoryPlan& proto, const v1::MemorySpec& spec);
ServerStatus FromProto(const v1::StatusResponse& proto);

}  // namespace evoke::client
