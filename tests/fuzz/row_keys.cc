// Keys of rows: a key that is understood is the one that the number would be given, and the order of keys is that of
// numbers.
#include <string>

#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void Run(std::string_view input) {
  ByteReader in(input);
  const uint32_t partitions = 1 + in.Take<uint16_t>();
  const KeyLayout layout(partitions);
  const std::string_view key = in.TakeRaw(in.remaining());

  if (const auto slot = layout.ParseSlot(key)) {
    EVOKE_CHECK(layout.Slot(*slot) == key);
    const KeyRange range = KeyLayout::Of(RowKind::kSlot, Partition(slot->value % partitions));
    EVOKE_CHECK(range.begin <= key && key < range.end);
    if (slot->value <= ~uint64_t{0} - partitions) {
      EVOKE_CHECK(key < layout.Slot(SlotId(slot->value + partitions)));
    }
  }
  if (const auto session = KeyLayout::ParseSession(key)) EVOKE_CHECK(KeyLayout::Session(*session) == key);
  if (const auto turn = KeyLayout::ParseRecord(key)) {
    EVOKE_CHECK(KeyLayout::Record(*turn) == key);
    const KeyRange range = KeyLayout::All(RowKind::kRecord);
    EVOKE_CHECK(range.begin <= key && key < range.end);
  }
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
