// Rows of slots: what is decoded encodes to the very bytes that were read, and under no other key is it accepted.
#include <string>
#include <vector>

#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "storage/sealed_row.h"
#include "storage/slot_record.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void Run(std::string_view input) {
  ByteReader in(input);
  const bool sealed = in.Take<uint8_t>() % 2 != 0;
  const uint32_t key_dim = 1 + in.Take<uint8_t>() % 16;
  const KeyLayout layout(1 + in.Take<uint8_t>() % 8);
  const SlotId slot(in.Take<uint16_t>());
  const std::string key = layout.Slot(slot);
  std::string value(in.TakeRaw(in.remaining()));
  if (sealed) SealRow(key, &value);

  std::vector<float> buffer;
  const absl::StatusOr<SlotRow> row = DecodeSlotRow(key, slot, value, key_dim, &buffer);
  if (!row.ok()) return CheckRefusal(row.status());
  EVOKE_CHECK(row->slot == slot);
  EVOKE_CHECK(row->key.size() == key_dim);
  std::string again;
  EncodeSlotRow(key,
                {.slot = slot,
                 .value = row->value,
                 .written_step = row->written_step,
                 .hits = row->hits,
                 .key = {row->key.begin(), row->key.end()}},
                &again);
  EVOKE_CHECK(again == value);
  EVOKE_CHECK(!DecodeSlotRow(layout.Slot(slot.Next()), slot, value, key_dim, &buffer).ok());
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
