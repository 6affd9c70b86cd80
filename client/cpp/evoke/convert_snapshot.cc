#include "evoke/convert_snapshot.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "evoke/convert.h"
#include "evoke/error_details.h"

namespace evoke::client {
namespace {

absl::Status BadShape(absl::string_view field, size_t got, size_t want) {
  absl::Status status =
      absl::InvalidArgumentError(absl::StrCat(field, " has ", got, " elements, expected ", want));
  ErrorDetails details;
  details.reason = "BAD_SHAPE";
  details.metadata["field"] = std::string(field);
  SetErrorDetails(details, &status);
  return status;
}

template <typename T>
absl::Status Unpack(absl::string_view field, const std::string& bytes, size_t count, std::vector<T>* column) {
  if (bytes.size() != count * sizeof(T)) {
    return absl::InternalError(
        absl::StrCat("reply has ", bytes.size(), " bytes of ", field, ", expected ", count * sizeof(T)));
  }
  column->resize(count);
  if (count > 0) std::memcpy(column->data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

template <typename T>
absl::Status Pack(absl::string_view field, const std::vector<T>& column, size_t count, std::string* bytes) {
  if (column.size() != count) return BadShape(field, column.size(), count);
  bytes->assign(reinterpret_cast<const char*>(column.data()), count * sizeof(T));
  return absl::OkStatus();
}

}  // namespace

SnapshotToken FromProto(const v1::SnapshotToken& proto) {
  return {.uid = Id128::FromBytes(proto.uid()),
          .epoch = proto.epoch(),
          .turn = proto.turn(),
          .step = proto.step(),
          .state_hash = proto.state_hash()};
}

void ToProto(const SnapshotToken& token, v1::SnapshotToken* proto) {
  proto->set_uid(token.uid.ToBytes());
  proto->set_epoch(token.epoch);
  proto->set_turn(token.turn);
  proto->set_step(token.step);
  proto->set_state_hash(token.state_hash);
}

Snapshot FromProto(const v1::Snapshot& proto) {
  return {.id = proto.id(),
          .memory = proto.memory(),
          .token = FromProto(proto.token()),
          .spec = FromProto(proto.spec()),
          .live_slots = proto.live_slots(),
          .bytes = proto.bytes(),
          .files = proto.files(),
          .created_unix_ms = proto.created_unix_ms(),
          .scheduled = proto.scheduled()};
}

void ToProto(const SnapshotName& name, v1::RestoreSnapshotRequest* proto) {
  proto->set_id(name.id);
  if (name.token.has_value()) ToProto(*name.token, proto->mutable_token());
  if (name.backup_folder.has_value()) proto->set_backup_folder(*name.backup_folder);
}

absl::StatusOr<SlotRows> FromProto(const v1::SlotRows& proto, uint32_t key_dim) {
  SlotRows rows;
  const size_t count = proto.rows();
  absl::Status status = Unpack("slots", proto.slots(), count, &rows.slots);
  if (status.ok()) status = Unpack("values", proto.values(), count, &rows.values);
  if (status.ok()) status = Unpack("written_steps", proto.written_steps(), count, &rows.written_steps);
  if (status.ok()) status = Unpack("hits", proto.hits(), count, &rows.hits);
  if (status.ok()) status = Unpack("keys", proto.keys(), count * key_dim, &rows.keys);
  if (!status.ok()) return status;
  rows.payloads.reserve(proto.payloads_size());
  for (const v1::PlacedPayload& payload : proto.payloads()) {
    if (payload.row() >= count) {
      return absl::InternalError(absl::StrCat("reply has a payload of row ", payload.row(), " of ", count));
    }
    rows.payloads.push_back({payload.row(), payload.place(), payload.step(), payload.data()});
  }
  return rows;
}

absl::Status ToProto(const SlotRows& rows, uint32_t key_dim, v1::SlotRows* proto) {
  const size_t count = rows.rows();
  proto->set_rows(static_cast<uint32_t>(count));
  absl::Status status = Pack("slots", rows.slots, count, proto->mutable_slots());
  if (status.ok()) status = Pack("values", rows.values, count, proto->mutable_values());
  if (status.ok()) status = Pack("written_steps", rows.written_steps, count, proto->mutable_written_steps());
  if (status.ok()) status = Pack("hits", rows.hits, count, proto->mutable_hits());
  if (status.ok()) status = Pack("keys", rows.keys, count * key_dim, proto->mutable_keys());
  if (!status.ok()) return status;
  for (const PlacedPayload& payload : rows.payloads) {
    v1::PlacedPayload* added = proto->add_payloads();
    added->set_row(payload.row);
    added->set_place(payload.place);
    added->set_step(payload.step);
    added->set_data(payload.data);
  }
  return absl::OkStatus();
}

absl::Status ToProto(const ImportRowsRequest& request, v1::NewRows* proto) {
  const size_t rows = request.embeddings.rows;
  if (request.values.size() != rows) return BadShape("values", request.values.size(), rows);
  if (!request.payloads.empty() && request.payloads.size() != rows) {
    return BadShape("payloads", request.payloads.size(), rows);
  }
  v1::Matrix* matrix = proto->mutable_embeddings();
  matrix->set_data(request.embeddings.bytes.data(), request.embeddings.bytes.size());
  matrix->set_dtype(static_cast<v1::DType>(request.embeddings.dtype));
  matrix->set_rows(request.embeddings.rows);
  matrix->set_dim(request.embeddings.dim);
  proto->set_values(reinterpret_cast<const char*>(request.values.data()), rows * sizeof(int64_t));
  for (absl::string_view payload : request.payloads) proto->add_payloads(payload.data(), payload.size());
  return absl::OkStatus();
}

absl::StatusOr<ImportResult> FromProto(const v1::ImportResponse& proto) {
  ImportResult result{.header = FromProto(proto.header()),
                      .live_slots = proto.live_slots(),
                      .state_hash = proto.state_hash()};
  const absl::Status status =
      Unpack("slots", proto.slots(), proto.slots().size() / sizeof(uint64_t), &result.slots);
  if (!status.ok()) return status;
  return result;
}

}  // namespace evoke::client
