// Query: whatever is taken is finite unit rows, a k and a temperature that a search can use, and a reply that fits.
#include "server/service/convert_query.h"

#include <string>

#include "tests/fuzz/requests.h"

namespace evoke::fuzz {
namespace {

v1::QueryRequest Shaped(ByteReader* in, const AnyMemory& memory) {
  v1::QueryRequest request;
  const uint8_t flags = in->Take<uint8_t>();
  request.set_neighbors(flags & 1);
  request.set_neighbor_keys(flags & 2);
  request.set_neighbor_payloads(flags & 4);
  if (flags & 8) request.set_k(in->Take<uint8_t>());
  if (flags & 16) request.set_inverse_temperature(std::bit_cast<double>(in->Take<uint64_t>()));
  FillMatrix(in, memory, request.mutable_embeddings());
  request.set_skip(TakeBits(in, request.embeddings().rows()));
  return request;
}

void Run(std::string_view input) {
  ByteReader in(input);
  const bool shaped = in.Take<uint8_t>() % 2 != 0;
  const AnyMemory memory(&in);
  v1::QueryRequest request;
  if (shaped) {
    request = Shaped(&in, memory);
  } else if (!Parse(in.TakeRaw(in.remaining()), &request)) {
    return;
  }
  if (const auto requirement = ToRequirement(request.memory()); requirement.ok()) {
    EVOKE_CHECK(!requirement->name.empty());
  } else {
    CheckRequestRefusal(requirement.status());
  }

  const absl::StatusOr<QueryCall> call = ToQueryCall(request, memory.target());
  if (!call.ok()) return CheckRequestRefusal(call.status());
  CheckRows(call->rows, memory);
  EVOKE_CHECK(call->k >= 1 && (!request.has_k() || call->k <= memory.limits.max_k));
  EVOKE_CHECK(std::isfinite(call->inverse_temperature) && call->inverse_temperature > 0);
  EVOKE_CHECK(call->neighbors || !(call->keys || call->payloads));
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
