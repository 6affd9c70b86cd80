#include "storage/key_layout.h"

#include "storage/bytes.h"

namespace evoke {
namespace {

std::string Begin(RowKind kind) {
  return std::string(1, static_cast<char>(kind));
}

// True, and `in` stands behind the kind, when the key is of this kind and length.
bool IsOf(RowKind kind, size_t size, std::string_view key, ByteReader* in) {
  return key.size() == size && in->Take<uint8_t>() == static_cast<uint8_t>(kind);
}

}  // namespace

std::string KeyLayout::Format() {
  return Begin(RowKind::kFormat);
}

std::string KeyLayout::Meta() {
  return Begin(RowKind::kMeta);
}

std::string KeyLayout::Slot(SlotId slot) const {
  std::string key = Begin(RowKind::kSlot);
  ByteWriter out(&key);
  out.PutBigEndian(static_cast<uint32_t>(slot.value % partitions_));
  out.PutBigEndian(slot.value / partitions_);
  return key;
}

std::string KeyLayout::Payload(SlotId slot, uint16_t place) const {
  std::string key = Slot(slot);
  key[0] = static_cast<char>(RowKind::kPayload);
  ByteWriter(&key).PutBigEndian(place);
  return key;
}

std::string KeyLayout::Session(const SessionId& session) {
  std::string key = Begin(RowKind::kSession);
  ByteWriter(&key).Put(session);
  return key;
}

std::string KeyLayout::Reply(const SessionId& session, uint64_t number) {
  std::string key = Begin(RowKind::kReply);
  ByteWriter out(&key);
  out.Put(session);
  out.PutBigEndian(number);
  return key;
}

std::string KeyLayout::Record(Turn turn) {
  std::string key = Begin(RowKind::kRecord);
  ByteWriter(&key).PutBigEndian(turn.value);
  return key;
}

KeyRange KeyLayout::All(RowKind kind) {
  return {.begin = Begin(kind), .end = std::string(1, static_cast<char>(static_cast<uint8_t>(kind) + 1))};
}

KeyRange KeyLayout::Of(RowKind kind, Partition partition) {
  KeyRange range{.begin = Begin(kind), .end = Begin(kind)};
  ByteWriter(&range.begin).PutBigEndian(static_cast<uint32_t>(partition.value));
  ByteWriter(&range.end).PutBigEndian(static_cast<uint32_t>(partition.value + 1));
  return range;
}

std::optional<SlotId> KeyLayout::ParseSlot(std::string_view key) const {
  ByteReader in(key);
  if (!IsOf(RowKind::kSlot, 13, key, &in)) return std::nullopt;
  const uint32_t partition = in.TakeBigEndian<uint32_t>();
  const uint64_t block = in.TakeBigEndian<uint64_t>();
  if (partition >= partitions_ || block > (~uint64_t{0} - partition) / partitions_) return std::nullopt;
  return SlotId(block * partitions_ + partition);
}

std::optional<SessionId> KeyLayout::ParseSession(std::string_view key) {
  ByteReader in(key);
  if (!IsOf(RowKind::kSession, 17, key, &in)) return std::nullopt;
  return in.TakeUid<SessionId>();
}

std::optional<Turn> KeyLayout::ParseRecord(std::string_view key) {
  ByteReader in(key);
  if (!IsOf(RowKind::kRecord, 9, key, &in)) return std::nullopt;
  return Turn(in.TakeBigEndian<uint64_t>());
}

}  // namespace evoke
