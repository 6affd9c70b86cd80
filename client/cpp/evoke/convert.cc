#include "evoke/convert.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "evoke/error_details.h"

namespace evoke::client {
namespace {

// Arrays are copied between memory and the wire as they lie.
static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

absl::Status BadShape(absl::string_view field, size_t got, size_t want) {
  absl::Status status = absl::InvalidArgumentError(
      absl::StrCat(field, " has ", got, " elements, expected one for each of the ", want, " rows"));
  ErrorDetails details;
  details.reason = "BAD_SHAPE";
  details.metadata["field"] = std::string(field);
  SetErrorDetails(details, &status);
  return status;
}

// [rows] bytes to packed bits, row 0 lowest.
absl::Status PackBits(absl::string_view field, absl::Span<const uint8_t> mask, size_t rows,
                      std::string* bits) {
  if (mask.empty()) return absl::OkStatus();
  if (mask.size() != rows) return BadShape(field, mask.size(), rows);
  bits->assign((rows + 7) / 8, '\0');
  for (size_t i = 0; i < rows; ++i) {
    if (mask[i] != 0) (*bits)[i / 8] = static_cast<char>(static_cast<uint8_t>((*bits)[i / 8]) | 1u << i % 8);
  }
  return absl::OkStatus();
}

void MatrixToProto(const MatrixView& view, v1::Matrix* proto) {
  proto->set_data(view.bytes.data(), view.bytes.size());
  proto->set_dtype(static_cast<v1::DType>(view.dtype));
  proto->set_rows(view.rows);
  proto->set_dim(view.dim);
}

// What UpdateRequest and TrainStepRequest share.
template <typename Request, typename Proto>
absl::Status ObservationsToProto(const Request& request, Proto* proto) {
  const size_t rows = request.embeddings.rows;
  MatrixToProto(request.embeddings, proto->mutable_embeddings());
  if (request.values.size() != rows) return BadShape("values", request.values.size(), rows);
  proto->set_values(reinterpret_cast<const char*>(request.values.data()), rows * sizeof(int64_t));
  absl::Status status = PackBits("write", request.write, rows, proto->mutable_write());
  if (status.ok()) status = PackBits("skip", request.skip, rows, proto->mutable_skip());
  if (!status.ok()) return status;
  if (!request.payloads.empty() && request.payloads.size() != rows) {
    return BadShape("payloads", request.payloads.size(), rows);
  }
  for (absl::string_view payload : request.payloads) proto->add_payloads(payload.data(), payload.size());
  return absl::OkStatus();
}

// Reads the arrays of one reply and remembers the first that has the wrong length.
class ArrayReader {
 public:
  template <typename T>
  std::vector<T> Array(absl::string_view field, const std::string& bytes, uint64_t count) {
    if (!CheckLength(field, bytes, count * sizeof(T))) return {};
    std::vector<T> result(count);
    if (count > 0) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  // For arrays that are there only when they were asked for.
  template <typename T>
  std::vector<T> OptionalArray(absl::string_view field, const std::string& bytes, uint64_t count) {
    return bytes.empty() ? std::vector<T>() : Array<T>(field, bytes, count);
  }
  std::vector<uint8_t> Bits(absl::string_view field, const std::string& bytes, uint64_t count) {
    if (!CheckLength(field, bytes, (count + 7) / 8)) return {};
    std::vector<uint8_t> result(count);
    for (uint64_t i = 0; i < count; ++i) result[i] = static_cast<uint8_t>(bytes[i / 8]) >> i % 8 & 1;
    return result;
  }
  const absl::Status& status() const { return status_; }

 private:
  bool CheckLength(absl::string_view field, const std::string& bytes, uint64_t want) {
    if (bytes.size() == want) return true;
    status_.Update(absl::InternalError(
        absl::StrCat("reply has ", bytes.size(), " bytes of ", field, ", expected ", want)));
    return false;
  }
  absl::Status status_;
};

std::vector<Payload> PayloadsFromProto(const google::protobuf::RepeatedPtrField<v1::Payload>& protos) {
  std::vector<Payload> result;
  result.reserve(protos.size());
  for (const v1::Payload& proto : protos) result.push_back({.step = proto.step(), .data = proto.data()});
  return result;
}

Slot SlotFromProto(const v1::Slot& proto, uint32_t key_dim, ArrayReader& reader) {
  return {.slot = proto.slot(),
          .value = proto.value(),
          .written_step = proto.written_step(),
          .age = proto.age(),
          .hits = proto.hits(),
          .key = reader.OptionalArray<float>("key", proto.key(), key_dim),
          .payloads = PayloadsFromProto(proto.payloads())};
}

template <typename T>
MatrixView MakeMatrix(absl::Span<const T> numbers, uint32_t rows, MatrixView::DType dtype) {
  return {.bytes = {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)},
          .dtype = dtype,
          .rows = rows,
          .dim = rows == 0 ? 0 : static_cast<uint32_t>(numbers.size() / rows)};
}

}  // namespace

MatrixView MatrixView::Float32(absl::Span<const float> numbers, uint32_t rows) {
  return MakeMatrix(numbers, rows, DType::kFloat32);
}
MatrixView MatrixView::Float16(absl::Span<const uint16_t> bits, uint32_t rows) {
  return MakeMatrix(bits, rows, DType::kFloat16);
}
MatrixView MatrixView::BFloat16(absl::Span<const uint16_t> bits, uint32_t rows) {
  return MakeMatrix(bits, rows, DType::kBFloat16);
}

absl::Status ToProto(const QueryRequest& request, v1::QueryRequest* proto) {
  MatrixToProto(request.embeddings, proto->mutable_embeddings());
  if (request.k.has_value()) proto->set_k(*request.k);
  if (request.inverse_temperature.has_value()) proto->set_inverse_temperature(*request.inverse_temperature);
  proto->set_neighbors(request.neighbors);
  proto->set_neighbor_keys(request.neighbor_keys);
  proto->set_neighbor_payloads(request.neighbor_payloads);
  return PackBits("skip", request.skip, request.embeddings.rows, proto->mutable_skip());
}

absl::Status ToProto(const UpdateRequest& request, v1::UpdateRequest* proto) {
  return ObservationsToProto(request, proto);
}

absl::Status ToProto(const TrainStepRequest& request, v1::TrainStepRequest* proto) {
  proto->set_form(static_cast<v1::ReturnForm>(request.form));
  proto->set_confidence_gradient(request.confidence_gradient);
  return ObservationsToProto(request, proto);
}

void ToProto(const GetSlotsRequest& request, v1::GetSlotsRequest* proto) {
  proto->mutable_slots()->Add(request.slots.begin(), request.slots.end());
  proto->mutable_values()->Add(request.values.begin(), request.values.end());
  proto->set_limit(request.limit);
  proto->set_keys(request.keys);
  proto->set_payloads(request.payloads);
}

bool AnyRowWrites(uint32_t rows, absl::Span<const uint8_t> write, absl::Span<const uint8_t> skip) {
  for (size_t i = 0; i < rows; ++i) {
    if ((write.empty() || write[i] != 0) && (skip.empty() || skip[i] == 0)) return true;
  }
  return false;
}

absl::StatusOr<QueryResult> FromProto(const v1::QueryResponse& proto, uint32_t key_dim) {
  ArrayReader reader;
  const uint64_t rows = proto.rows();
  const uint64_t cells = rows * proto.neighbor_count();
  QueryResult result{
      .header = FromProto(proto.header()),
      .rows = proto.rows(),
      .answered = reader.Bits("answered", proto.answered(), rows),
      .values = reader.Array<int64_t>("values", proto.values(), rows),
      .confidences = reader.Array<float>("confidences", proto.confidences(), rows),
      .neighbor_count = proto.neighbor_count(),
      .neighbor_slots = reader.OptionalArray<uint64_t>("neighbor_slots", proto.neighbor_slots(), cells),
      .neighbor_values = reader.OptionalArray<int64_t>("neighbor_values", proto.neighbor_values(), cells),
      .neighbor_similarities =
          reader.OptionalArray<float>("neighbor_similarities", proto.neighbor_similarities(), cells),
      .neighbor_weights = reader.OptionalArray<float>("neighbor_weights", proto.neighbor_weights(), cells),
      .neighbor_ages = reader.OptionalArray<uint64_t>("neighbor_ages", proto.neighbor_ages(), cells),
      .neighbor_keys = reader.OptionalArray<float>("neighbor_keys", proto.neighbor_keys(), cells * key_dim)};
  for (const v1::SlotPayloads& slot : proto.payloads()) {
    result.payloads.push_back({.slot = slot.slot(), .payloads = PayloadsFromProto(slot.payloads())});
  }
  if (!reader.status().ok()) return reader.status();
  return result;
}

absl::StatusOr<UpdateResult> FromProto(const v1::UpdateResponse& proto) {
  ArrayReader reader;
  UpdateResult result{.header = FromProto(proto.header()),
                      .rows = proto.rows(),
                      .outcomes = reader.Array<Outcome>("outcomes", proto.outcomes(), proto.rows()),
                      .slots = reader.Array<uint64_t>("slots", proto.slots(), proto.rows())};
  if (!reader.status().ok()) return reader.status();
  return result;
}

absl::StatusOr<TrainStepResult> FromProto(const v1::TrainStepResponse& proto, uint32_t key_dim) {
  ArrayReader reader;
  const uint64_t rows = proto.rows();
  const uint64_t cells = rows * key_dim;
  TrainStepResult result{
      .header = FromProto(proto.header()),
      .rows = proto.rows(),
      .answered = reader.Bits("answered", proto.answered(), rows),
      .values = reader.Array<int64_t>("values", proto.values(), rows),
      .confidences = reader.Array<float>("confidences", proto.confidences(), rows),
      .losses = reader.Array<float>("losses", proto.losses(), rows),
      .positive_found = reader.Bits("positive_found", proto.positive_found(), rows),
      .negative_found = reader.Bits("negative_found", proto.negative_found(), rows),
      .outcomes = reader.Array<Outcome>("outcomes", proto.outcomes(), rows),
      .slots = reader.Array<uint64_t>("slots", proto.slots(), rows),
      .gradients = reader.OptionalArray<float>("gradients", proto.gradients(), cells),
      .confidence_gradients =
          reader.OptionalArray<float>("confidence_gradients", proto.confidence_gradients(), cells),
      .positive_keys = reader.OptionalArray<float>("positive_keys", proto.positive_keys(), cells),
      .negative_keys = reader.OptionalArray<float>("negative_keys", proto.negative_keys(), cells)};
  if (!reader.status().ok()) return reader.status();
  return result;
}

absl::StatusOr<GetSlotsResult> FromProto(const v1::GetSlotsResponse& proto, uint32_t key_dim) {
  ArrayReader reader;
  GetSlotsResult result{.header = FromProto(proto.header())};
  for (const v1::Slot& slot : proto.slots()) result.slots.push_back(SlotFromProto(slot, key_dim, reader));
  for (const v1::ValueSlots& value : proto.values()) {
    ValueSlots& slots = result.values.emplace_back();
    slots.value = value.value();
    slots.live_slots = value.live_slots();
    slots.observations = value.observations();
    for (const v1::Slot& slot : value.slots()) slots.slots.push_back(SlotFromProto(slot, key_dim, reader));
  }
  if (!reader.status().ok()) return reader.status();
  return result;
}

}  // namespace evoke::client
