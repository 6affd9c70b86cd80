#include "server/service/resolve.h"

#include "server/base/status_macros.h"

namespace evoke {

absl::StatusOr<ResolvedMemory> Resolve(const ServiceContext& shared, const v1::MemoryRef& ref) {
  ResolvedMemory memory;
  EVOKE_ASSIGN_OR_RETURN(memory.requirement, ToRequirement(ref));
  EVOKE_ASSIGN_OR_RETURN(memory.executor,
                         shared.catalog->Find(memory.requirement.name, memory.requirement.uid));
  return memory;
}

}  // namespace evoke
