#include "storage/turn_record.h"

// For XXH3_state_t on the stack.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/bytes.h"

namespace evoke {
namespace {

constexpr uint32_t kMagic = 0x54'4b'56'45;  // "EVKT"
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 4 + 4 + 8;
constexpr size_t kTrailerBytes = 16 + 8;  // chain, checksum

// What an item takes at least: a count that promises more than can follow is refused before anything is
// allocated.
constexpr size_t kMinWriteBytes = 8 + 1 + 8 + 8 + 4 + 4 + 4;
constexpr size_t kMinPayloadBytes = 2 + 8 + 4;
constexpr size_t kMinSessionOpBytes = 1 + 16 + 8 + 16 + 4;

absl::Status Corrupt(const std::string& what) {
  return absl::DataLossError(absl::StrCat("turn record: ", what));
}

Hash128 ChainAfter(Hash128 previous, std::string_view body) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  std::string prefix;
  ByteWriter(&prefix).Put(previous);
  XXH3_128bits_update(&state, prefix.data(), prefix.size());
  XXH3_128bits_update(&state, body.data(), body.size());
  const XXH128_hash_t sum = XXH3_128bits_digest(&state);
  return {.low = sum.low64, .high = sum.high64};
}

size_t BodyBytesAtMost(const TurnRecord& record) {
  size_t bytes = 256 + 8 * record.freed.size();
  for (const SlotWrite& write : record.writes) {
    bytes += kMinWriteBytes + sizeof(float) * write.key.size();
    for (const PayloadRow& row : write.payloads) bytes += kMinPayloadBytes + row.bytes.size();
  }
  for (const SessionOp& op : record.sessions) bytes += kMinSessionOpBytes + op.reply.size();
  return bytes;
}

void PutWrite(const SlotWrite& write, ByteWriter* out) {
  out->Put(write.slot);
  out->Put(static_cast<uint8_t>(write.kind));
  out->Put(write.value);
  out->Put(write.written_step);
  out->Put(write.hits);
  out->Put(static_cast<uint32_t>(write.key.size()));
  out->PutRaw({reinterpret_cast<const char*>(write.key.data()), sizeof(float) * write.key.size()});
  out->Put(static_cast<uint32_t>(write.payloads.size()));
  for (const PayloadRow& row : write.payloads) {
    out->Put(row.place);
    out->Put(row.step);
    out->PutString(row.bytes);
  }
}

void TakeWrite(ByteReader* in, SlotWrite* write) {
  write->slot = SlotId(in->Take<uint64_t>());
  write->kind = static_cast<WriteKind>(in->Take<uint8_t>());
  write->value = in->Take<int64_t>();
  write->written_step = Step(in->Take<uint64_t>());
  write->hits = in->Take<uint32_t>();
  write->key.resize(in->TakeCount(sizeof(float)));
  const std::string_view key = in->TakeRaw(sizeof(float) * write->key.size());
  if (!key.empty()) std::memcpy(write->key.data(), key.data(), key.size());
  write->payloads.resize(in->TakeCount(kMinPayloadBytes));
  for (PayloadRow& row : write->payloads) {
    row.place = in->Take<uint16_t>();
    row.step = Step(in->Take<uint64_t>());
    row.bytes = in->TakeString();
  }
}

bool HasOrigin(AdminOp admin) { return admin == AdminOp::kFork || admin == AdminOp::kRestore; }

void PutOrigin(const StateOrigin& origin, ByteWriter* out) {
  out->Put(origin.uid);
  out->Put(origin.epoch);
  out->Put(origin.turn);
  out->Put(origin.step);
  out->Put(origin.chain);
  out->Put(origin.state_hash);
}

StateOrigin TakeOrigin(ByteReader* in) {
  StateOrigin origin;
  origin.uid = in->TakeUid<MemoryUid>();
  origin.epoch = Epoch(in->Take<uint64_t>());
  origin.turn = Turn(in->Take<uint64_t>());
  origin.step = Step(in->Take<uint64_t>());
  origin.chain = in->TakeHash();
  origin.state_hash = in->TakeHash();
  return origin;
}

void TakeSessionOp(ByteReader* in, SessionOp* op) {
  op->kind = static_cast<SessionOp::Kind>(in->Take<uint8_t>());
  op->session = in->TakeUid<SessionId>();
  op->number = in->Take<uint64_t>();
  op->digest = in->TakeHash();
  op->reply = in->TakeString();
}

absl::StatusOr<TurnRecord> DecodeBody(std::string_view body) {
  ByteReader in(body);
  TurnRecord record;
  record.uid = in.TakeUid<MemoryUid>();
  record.epoch = Epoch(in.Take<uint64_t>());
  record.term = Term(in.Take<uint64_t>());
  record.turn = Turn(in.Take<uint64_t>());
  record.previous_chain = in.TakeHash();
  record.step_before = Step(in.Take<uint64_t>());
  record.step_after = Step(in.Take<uint64_t>());
  record.admin = static_cast<AdminOp>(in.Take<uint8_t>());
  if (HasOrigin(record.admin)) record.origin = TakeOrigin(&in);
  record.state_hash = in.TakeHash();
  record.live_after = in.Take<uint64_t>();
  record.writes.resize(in.TakeCount(kMinWriteBytes));
  for (SlotWrite& write : record.writes) TakeWrite(&in, &write);
  record.freed.resize(in.TakeCount(8));
  for (SlotId& slot : record.freed) slot = SlotId(in.Take<uint64_t>());
  record.sessions.resize(in.TakeCount(kMinSessionOpBytes));
  for (SessionOp& op : record.sessions) TakeSessionOp(&in, &op);
  if (!in.AtEnd()) return Corrupt("its lists and its body length disagree");
  if (const absl::Status s = CheckTurnRecord(record); !s.ok()) return Corrupt(std::string(s.message()));
  return record;
}

}  // namespace

absl::Status CheckTurnRecord(const TurnRecord& record) {
  const auto refuse = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("turn ", record.turn.value, ": ", what));
  };
  if (record.admin > AdminOp::kRestore) {
    return refuse(absl::StrCat("unknown admin operation ", static_cast<int>(record.admin)));
  }
  if (HasOrigin(record.admin) != record.origin.has_value()) {
    return refuse(record.origin ? "an origin without a fork or restore" : "a fork or restore without an origin");
  }
  absl::flat_hash_set<SlotId> slots;
  slots.reserve(record.writes.size() + record.freed.size());
  const SlotWrite* previous = nullptr;
  for (const SlotWrite& write : record.writes) {
    if (write.kind < WriteKind::kHit || write.kind > WriteKind::kImport) {
      return refuse(
          absl::StrCat("slot ", write.slot.value, " has unknown kind ", static_cast<int>(write.kind)));
    }
    if (!slots.insert(write.slot).second)
      return refuse(absl::StrCat("slot ", write.slot.value, " appears twice"));
    if (previous != nullptr && write.written_step <= previous->written_step) {
      return refuse(absl::StrCat("slot ", write.slot.value, " was written at step ", write.written_step.value,
                                 ", not after ", previous->written_step.value));
    }
    previous = &write;
  }
  for (const SlotId slot : record.freed) {
    if (!slots.insert(slot).second) return refuse(absl::StrCat("slot ", slot.value, " appears twice"));
  }
  for (const SessionOp& op : record.sessions) {
    if (op.kind < SessionOp::Kind::kOpen || op.kind > SessionOp::Kind::kForget) {
      return refuse(absl::StrCat("session operation of unknown kind ", static_cast<int>(op.kind)));
    }
  }
  return absl::OkStatus();
}

EncodedTurn EncodeTurnRecord(const TurnRecord& record) {
  EncodedTurn turn;
  const size_t reserved = kHeaderBytes + BodyBytesAtMost(record) + kTrailerBytes;
  turn.bytes.reserve(reserved);
  ByteWriter out(&turn.bytes);
  out.Put(kMagic);
  out.Put(kVersion);
  out.Put(uint64_t{0});  // the body's length, once it is known
  out.Put(record.uid);
  out.Put(record.epoch);
  out.Put(record.term);
  out.Put(record.turn);
  out.Put(record.previous_chain);
  out.Put(record.step_before);
  out.Put(record.step_after);
  out.Put(static_cast<uint8_t>(record.admin));
  if (record.origin) PutOrigin(*record.origin, &out);
  out.Put(record.state_hash);
  out.Put(record.live_after);
  out.Put(static_cast<uint32_t>(record.writes.size()));
  for (const SlotWrite& write : record.writes) PutWrite(write, &out);
  out.Put(static_cast<uint32_t>(record.freed.size()));
  for (SlotId slot : record.freed) out.Put(slot);
  out.Put(static_cast<uint32_t>(record.sessions.size()));
  for (const SessionOp& op : record.sessions) {
    out.Put(static_cast<uint8_t>(op.kind));
    out.Put(op.session);
    out.Put(op.number);
    out.Put(op.digest);
    out.PutString(op.reply);
  }
  const uint64_t body_bytes = turn.bytes.size() - kHeaderBytes;
  std::memcpy(turn.bytes.data() + 8, &body_bytes, sizeof body_bytes);
  turn.chain = ChainAfter(record.previous_chain, std::string_view(turn.bytes).substr(kHeaderBytes));
  out.Put(turn.chain);
  out.Put(uint64_t{XXH3_64bits(turn.bytes.data(), turn.bytes.size())});
  return turn;
}

absl::StatusOr<DecodedTurn> DecodeTurnRecord(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + kTrailerBytes)
    return Corrupt(absl::StrCat("has only ", bytes.size(), " bytes"));
  // The checksum comes first, and lies at the end in every version: a flipped bit of the version is damage,
  // not a newer program.
  const std::string_view summed = bytes.substr(0, bytes.size() - 8);
  if (ByteReader(bytes.substr(summed.size())).Take<uint64_t>() != XXH3_64bits(summed.data(), summed.size())) {
    return Corrupt(absl::StrCat("checksum of ", bytes.size(), " bytes does not hold"));
  }
  ByteReader in(summed);
  if (in.Take<uint32_t>() != kMagic) return Corrupt("does not begin with its magic number");
  if (const uint32_t version = in.Take<uint32_t>(); version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("turn record has version ", version, ", this program reads ", kVersion));
  }
  const uint64_t body_bytes = in.Take<uint64_t>();
  if (body_bytes != in.remaining() - 16) {
    return Corrupt(absl::StrCat("body of ", body_bytes, " bytes, but ", in.remaining() - 16, " are there"));
  }
  const std::string_view body = in.TakeRaw(body_bytes);
  absl::StatusOr<TurnRecord> record = DecodeBody(body);
  if (!record.ok()) return record.status();
  DecodedTurn turn{.record = *std::move(record), .chain = in.TakeHash()};
  if (turn.chain != ChainAfter(turn.record.previous_chain, body)) {
    return Corrupt(absl::StrCat("turn ", turn.record.turn.value, ": the chain does not hold"));
  }
  return turn;
}

}  // namespace evoke
