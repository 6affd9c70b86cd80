// Update and TrainStep: whatever is taken is finite unit rows with a value and flags each; a mutation exactly if some
// row writes; and a digest that does not see what a skipped row holds.
#include <string>
#include <utility>

#include "server/service/convert_observe.h"
#include "tests/fuzz/requests.h"

namespace evoke::fuzz {
namespace {

template <typename Request>
Request Shaped(ByteReader* in, const AnyMemory& memory) {
  Request request;
  const uint8_t flags = in->Take<uint8_t>();
  if (flags & 1) FillMutation(in, request.mutable_mutation());
  FillMatrix(in, memory, request.mutable_embeddings());
  const uint32_t rows = request.embeddings().rows();
  request.set_write(TakeBits(in, rows));
  request.set_skip(TakeBits(in, rows));
  for (uint32_t i = 0; (flags & 2) != 0 && i < rows; ++i) request.add_payloads(TakePadded(in, in->Take<uint8_t>() % 8));
  if constexpr (requires { request.set_form(v1::ReturnForm{}); }) {
    request.set_form(static_cast<v1::ReturnForm>(flags / 4 % 8));
    request.set_confidence_gradient(flags & 32);
  }
  request.set_values(TakePadded(in, rows * 8));
  return request;
}

// The same request with other numbers in its skipped rows.
template <typename Request>
Request WithoutSkipped(Request request, const RowSet& rows) {
  std::string& data = *request.mutable_embeddings()->mutable_data();
  const size_t row_bytes = data.size() / rows.count();
  for (uint32_t i = 0; i < rows.count(); ++i) {
    if (rows.skip[i]) data.replace(i * row_bytes, row_bytes, std::string(row_bytes, '\x7f'));
  }
  return request;
}

template <typename Request>
void Check(const Request& request, const AnyMemory& memory) {
  const absl::StatusOr<ObserveCall> call = ToObserveCall(Request(request), memory.target());
  if (!call.ok()) return CheckRequestRefusal(call.status());
  CheckRows(call->rows, memory);
  const size_t rows = call->rows.count();
  EVOKE_CHECK(call->values.size() == rows && call->write.size() == rows);
  EVOKE_CHECK(call->payloads.empty() || call->payloads.size() == rows);
  EVOKE_CHECK(call->encode != nullptr);
  bool writes = false;
  for (size_t i = 0; i < rows; ++i) {
    EVOKE_CHECK(call->write[i] <= 1 && call->write[i] + call->rows.skip[i] <= 1);
    writes |= call->write[i] != 0;
  }
  EVOKE_CHECK(call->writes() == writes);

  const auto again = ToObserveCall(WithoutSkipped(request, call->rows), memory.target());
  EVOKE_CHECK(again.ok());
  EVOKE_CHECK(again->rows.unit == call->rows.unit);
  if (!writes) return;
  EVOKE_CHECK(call->mutation->number > 0);
  EVOKE_CHECK(call->mutation->first_unacknowledged <= call->mutation->number);
  EVOKE_CHECK(again->mutation->digest == call->mutation->digest);
}

template <typename Request>
void Run(bool shaped, ByteReader* in) {
  const AnyMemory memory(in);
  if (shaped) return Check(Shaped<Request>(in, memory), memory);
  Request request;
  if (Parse(in->TakeRaw(in->remaining()), &request)) Check(request, memory);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::ByteReader in(evoke::fuzz::View(data, size));
  const uint8_t form = in.Take<uint8_t>();
  if (form & 2) {
    evoke::fuzz::Run<evoke::v1::UpdateRequest>(form & 1, &in);
  } else {
    evoke::fuzz::Run<evoke::v1::TrainStepRequest>(form & 1, &in);
  }
  return 0;
}
