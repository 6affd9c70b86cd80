// Import: whatever is taken are rows that an engine writes without looking at them again; and what an export would
// send of them is taken in turn, as the same rows.
#include <set>
#include <string>
#include <utility>

#include "server/service/convert_import.h"
#include "server/service/digest.h"
#include "tests/fuzz/requests.h"

namespace evoke::fuzz {
namespace {

void FillExact(ByteReader* in, const AnyMemory& memory, v1::SlotRows* exact) {
  std::vector<ImportRow> rows(1 + in->Take<uint8_t>() % 4);
  uint64_t step = 0;
  for (ImportRow& row : rows) {
    step += in->Take<uint8_t>() == 255 ? in->Take<uint64_t>() : in->Take<uint8_t>();
    row.slot = in->Take<uint8_t>();
    row.value = in->Take<int64_t>();
    row.written_step = step;
    row.hits = in->Take<uint8_t>() % 8;
    row.key.assign(memory.spec.key_dim, 0.0f);
    row.key[in->Take<uint8_t>() % memory.spec.key_dim] = 1;
    row.key[0] += std::bit_cast<float>(in->Take<uint32_t>());
    for (int payloads = in->Take<uint8_t>() % 3; payloads > 0; --payloads) {
      PayloadRow payload{.place = in->Take<uint8_t>(), .step = Step(in->Take<uint8_t>())};
      payload.bytes = TakePadded(in, in->Take<uint8_t>() % 4);
      row.payloads.push_back(payload);
    }
  }
  *exact = ToProto(std::move(rows));
}

v1::ImportRequest Shaped(ByteReader* in, const AnyMemory& memory) {
  v1::ImportRequest request;
  const uint8_t flags = in->Take<uint8_t>();
  FillMutation(in, request.mutable_mutation());
  if (flags & 1) request.set_step_after(in->Take<uint64_t>());
  if (flags & 2) {
    FillExact(in, memory, request.mutable_exact());
    return request;
  }
  v1::NewRows& rows = *request.mutable_new_rows();
  FillMatrix(in, memory, rows.mutable_embeddings());
  rows.set_values(TakePadded(in, rows.embeddings().rows() * 8));
  for (uint32_t i = 0; (flags & 4) != 0 && i < rows.embeddings().rows(); ++i) {
    rows.add_payloads(TakePadded(in, in->Take<uint8_t>() % 4));
  }
  return request;
}

void CheckRow(const ImportRow& row, bool exact, const AnyMemory& memory) {
  EVOKE_CHECK(row.key.size() == memory.spec.key_dim);
  CheckUnit(row.key.data(), memory.spec.key_dim, exact ? 1e-3f : 1e-5f);
  EVOKE_CHECK(row.slot < memory.spec.capacity);
  std::set<uint16_t> places;
  for (const PayloadRow& payload : row.payloads) {
    EVOKE_CHECK(payload.place < memory.spec.payload_history && payload.place <= row.hits);
    EVOKE_CHECK(!payload.bytes.empty() && payload.bytes.size() <= kMaxPayloadBytes);
    EVOKE_CHECK(places.insert(payload.place).second);
  }
}

void CheckExact(const ImportCall& call, const v1::Mutation& mutation, const AnyMemory& memory) {
  std::set<uint64_t> slots;
  uint64_t step = 0;
  for (const ImportRow& row : call.rows) {
    EVOKE_CHECK(slots.insert(row.slot).second);
    EVOKE_CHECK(row.written_step > step);
    step = row.written_step;
  }
  // Steps are counted on from here for as long as the memory lives.
  EVOKE_CHECK(std::max(step, call.step_after) < uint64_t{1} << 63);

  v1::ImportRequest request;
  *request.mutable_mutation() = mutation;
  *request.mutable_exact() = ToProto(call.rows);
  if (call.step_after > 0) request.set_step_after(call.step_after);
  const auto again = ToImportCall(std::move(request), memory.target());
  EVOKE_CHECK(again.ok());
  EVOKE_CHECK(again->mutation->digest == call.mutation->digest);
}

void Run(std::string_view input) {
  ByteReader in(input);
  const bool shaped = in.Take<uint8_t>() % 2 != 0;
  const AnyMemory memory(&in);
  v1::ImportRequest request;
  if (shaped) {
    request = Shaped(&in, memory);
  } else if (!Parse(in.TakeRaw(in.remaining()), &request)) {
    return;
  }
  const v1::Mutation mutation = request.mutation();
  const absl::StatusOr<ImportCall> call = ToImportCall(std::move(request), memory.target());
  if (!call.ok()) return CheckRequestRefusal(call.status());
  EVOKE_CHECK(!call->rows.empty() && call->rows.size() <= memory.limits.max_rows);
  EVOKE_CHECK(call->mutation && call->encode != nullptr);
  for (const ImportRow& row : call->rows) CheckRow(row, call->exact, memory);
  if (call->exact) CheckExact(*call, mutation, memory);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
