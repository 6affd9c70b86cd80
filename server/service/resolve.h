// From the memory that a request names to its executor, and from a call to a task on its way.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "evoke/v1/types.pb.h"
#include "server/engine/executor.h"
#include "server/service/convert.h"
#include "server/service/service_context.h"

namespace evoke {

struct ResolvedMemory {
  std::shared_ptr<Executor> executor;
  MemoryRequirement requirement;
};

// BAD_ARGUMENT, MEMORY_NOT_FOUND or STALE_MEMORY. Names are resolved here only.
absl::StatusOr<ResolvedMemory> Resolve(const ServiceContext& shared, const v1::MemoryRef& ref);

// Submits `call`, whose `done` is set, with the deadline, cancellation and requirement of the request. `rpc` is a UnaryCall,
// or what has as much to say.
template <typename Rpc, typename Call>
void SubmitCall(const ResolvedMemory& memory, const Rpc& rpc, Call call) {
  Task task;
  task.deadline = rpc.deadline();
  task.cancelled = rpc.cancelled();
  task.epoch = memory.requirement.epoch;
  task.min_turn = memory.requirement.min_turn;
  task.client = rpc.client();
  if constexpr (requires { rpc.tag(); }) task.tag = rpc.tag();
  task.call = std::move(call);
  memory.executor->Submit(std::move(task));
}

}  // namespace evoke
