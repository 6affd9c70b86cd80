// GetSlots, ClearMemory, CreateMemory and RestoreSnapshot: what is taken is within the limits, and says the same when
// it is said again.
#include <string>

#include "server/service/access.h"
#include "server/service/convert_admin.h"
#include "server/service/convert_observe.h"
#include "server/service/convert_query.h"
#include "server/service/convert_snapshot.h"
#include "tests/fuzz/requests.h"

namespace evoke::fuzz {
namespace {

void Check(const v1::GetSlotsRequest& request, const AnyMemory& memory) {
  const auto call = ToSlotsCall(request, memory.target());
  if (!call.ok()) return CheckRequestRefusal(call.status());
  EVOKE_CHECK(call->limit >= 1 && call->limit <= memory.limits.max_k);
  EVOKE_CHECK(call->slots.size() + call->values.size() <= memory.limits.max_rows);
  for (const uint64_t slot : call->slots) EVOKE_CHECK(slot < memory.spec.capacity);
}

void Check(const v1::ClearMemoryRequest& request, const AnyMemory& memory) {
  const auto call = ToClearCall(request);
  if (!call.ok()) return CheckRequestRefusal(call.status());
  EVOKE_CHECK(call->mutation.number > 0);
}

void Check(const v1::CreateMemoryRequest& request, const AnyMemory& memory) {
  const auto spec = ToSpec(request.spec());
  if (!spec.ok()) return CheckRequestRefusal(spec.status());
  EVOKE_CHECK(ValidateSpec(*spec).ok());
  const auto again = ToSpec(ToProto(*spec));
  EVOKE_CHECK(again.ok() && *again == *spec);
  EVOKE_CHECK(SpecDifference(*spec, *again).empty());
}

void Check(const v1::RestoreSnapshotRequest& request, const AnyMemory& memory) {
  const auto which = ToWhich(request);
  if (!which.ok()) return CheckRequestRefusal(which.status());
  EVOKE_CHECK(which->token || !which->id.empty());
  if (!which->token) return;
  v1::RestoreSnapshotRequest said = request;
  *said.mutable_token() = ToProto(*which->token);
  const auto again = ToWhich(said);
  EVOKE_CHECK(again.ok() && again->token == which->token);
}

template <typename Request>
void Run(ByteReader* in) {
  const AnyMemory memory(in);
  Request request;
  if (!Parse(in->TakeRaw(in->remaining()), &request)) return;
  for (const std::string& name : NamedMemories(request)) EVOKE_CHECK(!name.empty());
  Check(request, memory);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace evoke;
  constexpr void (*kRun[])(ByteReader*) = {fuzz::Run<v1::GetSlotsRequest>, fuzz::Run<v1::ClearMemoryRequest>,
                                           fuzz::Run<v1::CreateMemoryRequest>, fuzz::Run<v1::RestoreSnapshotRequest>};
  ByteReader in(fuzz::View(data, size));
  kRun[in.Take<uint8_t>() % 4](&in);
  return 0;
}
