// Specs, descriptions of memories and the state of the server, between proto and plain values.
#pragma once

#include "absl/status/statusor.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/types.pb.h"
#include "server/engine/catalog.h"
#include "server/engine/executor.h"
#include "server/engine/memory_plan.h"
#include "server/memory/memory_spec.h"
#include "server/service/convert.h"

namespace evoke {

// Complete, with the defaults filled in, and valid; else BAD_ARGUMENT naming the field ("spec.age_noise").
absl::StatusOr<MemorySpec> ToSpec(const v1::MemorySpec& spec);
// Every field is set but the thresholds that are off.
v1::MemorySpec ToProto(const MemorySpec& spec);

v1::MemoryDescription ToProto(const MemoryFigures& figures);
// As described, but with what `inspected` says, which is of one turn.
v1::MemoryDescription ToProto(const MemoryFigures& figures, const InspectReply& inspected);

// What a memory would take, and whether the server has it.
v1::MemoryPlan ToProto(const MemoryPlan& plan, const Catalog::Budget& budget);

// The header of a reply that was made from figures.
StateName ToStateName(const MemoryFigures& figures);

}  // namespace evoke
