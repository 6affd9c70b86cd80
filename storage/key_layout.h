// The keys of a store's rows: which rows lie beside each other, hence what one range scan reads.
//
//   kind byte    rest of the key (big-endian)            row
//   1 format     -                                       version of the layout and the memory's geometry;
//   never changes 2 meta       -                                       MetaRow and the window of kept
//   records; changes every turn 3 slot       partition u32, block u64                a live slot; slot =
//   block * P + partition 4 payload    partition u32, block u64, place u16     a place of a slot's ring 5
//   session    session id [16]                         a session, its unacknowledged numbers and digests 6
//   reply      session id [16], number u64             a stored reply 7 record     turn u64 a turn record
//
// So a partition is one range of slots and one of payloads: it can be read, checked, dropped or moved alone.
// Kinds are stored: never renumber.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/ids.h"

namespace evoke {

enum class RowKind : uint8_t {
  kFormat = 1,
  kMeta = 2,
  kSlot = 3,
  kPayload = 4,
  kSession = 5,
  kReply = 6,
  kRecord = 7,
};

// A half-open range of keys.
struct KeyRange {
  std::string begin;
  std::string end;
};

// Thread-safe.
class KeyLayout {
 public:
  // Requires: partitions > 0.
  explicit KeyLayout(uint32_t partitions) : partitions_(partitions) {}

  static std::string Format();
  static std::string Meta();
  std::string Slot(SlotId slot) const;
  std::string Payload(SlotId slot, uint16_t place) const;
  static std::string Session(const SessionId& session);
  static std::string Reply(const SessionId& session, uint64_t number);
  static std::string Record(Turn turn);

  static KeyRange All(RowKind kind);
  // Requires: kind is kSlot or kPayload.
  static KeyRange Of(RowKind kind, Partition partition);

  // What the key of a slot row, session row or record says; nothing for any other key.
  std::optional<SlotId> ParseSlot(std::string_view key) const;
  static std::optional<SessionId> ParseSession(std::string_view key);
  static std::optional<Turn> ParseRecord(std::string_view key);

 private:
  const uint32_t partitions_;
};

}  // namespace evoke
