#include "storage/slot_record.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/bytes.h"
#include "storage/sealed_row.h"

namespace evoke {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kFixedBytes = 1 + 8 + 8 + 4;

}  // namespace

void EncodeSlotRow(std::string_view row_key, const SlotWrite& write, std::string* out) {
  out->clear();
  ByteWriter w(out);
  w.Put(kVersion);
  w.Put(write.value);
  w.Put(write.written_step);
  w.Put(write.hits);
  w.PutRaw({reinterpret_cast<const char*>(write.key.data()), sizeof(float) * write.key.size()});
  SealRow(row_key, out);
}

absl::StatusOr<SlotRow> DecodeSlotRow(std::string_view row_key, SlotId slot, std::string_view value,
                                      uint32_t key_dim, std::vector<float>* key_buffer) {
  const auto body = OpenSealedRow(row_key, value);
  if (!body) return absl::DataLossError(absl::StrCat("slot ", slot.value, ": checksum does not hold"));
  ByteReader in(*body);
  const uint8_t version = in.Take<uint8_t>();
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.value, " has row version ", version, ", this program reads ", kVersion));
  }
  if (body->size() != kFixedBytes + sizeof(float) * key_dim) {
    return absl::DataLossError(absl::StrCat("slot ", slot.value, ": row of ", body->size(),
                                            " bytes, expected ", kFixedBytes + sizeof(float) * key_dim));
  }
  SlotRow row{.slot = slot,
              .value = in.Take<int64_t>(),
              .written_step = Step(in.Take<uint64_t>()),
              .hits = in.Take<uint32_t>()};
  key_buffer->resize(key_dim);
  std::memcpy(key_buffer->data(), in.TakeRaw(sizeof(float) * key_dim).data(), sizeof(float) * key_dim);
  row.key = *key_buffer;
  return row;
}

}  // namespace evoke
