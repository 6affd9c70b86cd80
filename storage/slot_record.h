// One live slot as the bytes of its row. Layout: README.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/slot_store.h"

namespace evoke {

// Writes the row's value into `out`, whose content is replaced; `row_key` is the key that it will lie under.
void EncodeSlotRow(std::string_view row_key, const SlotWrite& write, std::string* out);

// Reads it back; `row.key` lies in `key_buffer`. DATA_LOSS naming the slot when checksum, version or length
// does not hold; FAILED_PRECONDITION for a newer version, naming both. Cost: one copy of the key.
absl::StatusOr<SlotRow> DecodeSlotRow(std::string_view row_key, SlotId slot, std::string_view value,
                                      uint32_t key_dim, std::vector<float>* key_buffer);

}  // namespace evoke
