#include "storage/state_rows.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/bytes.h"
#include "storage/sealed_row.h"

namespace evoke {
namespace {

constexpr uint32_t kStoreVersion = 1;

absl::Status Corrupt(const std::string& row) {
  return absl::DataLossError(absl::StrCat(row, ": checksum or length does not hold"));
}

}  // namespace

std::string EncodeFormatRow(std::string_view row_key, const FormatRow& row) {
  std::string value;
  ByteWriter out(&value);
  out.Put(kStoreVersion);
  out.Put(row.key_dim);
  out.Put(row.partitions);
  out.Put(row.payload_history);
  SealRow(row_key, &value);
  return value;
}

absl::StatusOr<FormatRow> DecodeFormatRow(std::string_view row_key, std::string_view value) {
  const auto body = OpenSealedRow(row_key, value);
  if (!body) return Corrupt("format row");
  ByteReader in(*body);
  if (const uint32_t version = in.Take<uint32_t>(); version != kStoreVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store has layout version ", version, ", this program reads ", kStoreVersion));
  }
  const FormatRow row{.key_dim = in.Take<uint32_t>(),
                      .partitions = in.Take<uint32_t>(),
                      .payload_history = in.Take<uint32_t>()};
  if (!in.AtEnd() || row.partitions == 0) return Corrupt("format row");
  return row;
}

std::string EncodeMetaRow(std::string_view row_key, const MetaRow& meta, const RecordWindow& window) {
  std::string value;
  ByteWriter out(&value);
  out.Put(meta.uid);
  out.Put(meta.epoch);
  out.Put(meta.term);
  out.Put(meta.turn);
  out.Put(meta.step);
  out.Put(meta.chain);
  out.Put(meta.state_hash);
  out.Put(meta.spec_digest);
  out.Put(meta.live_count);
  out.Put(meta.forgotten_turn);
  out.Put(static_cast<uint32_t>(window.chunks().size()));
  for (const RecordWindow::Chunk& chunk : window.chunks()) {
    out.Put(chunk.first);
    out.Put(chunk.bytes);
  }
  SealRow(row_key, &value);
  return value;
}

absl::StatusOr<StoredMeta> DecodeMetaRow(std::string_view row_key, std::string_view value) {
  const auto body = OpenSealedRow(row_key, value);
  if (!body) return Corrupt("meta row");
  ByteReader in(*body);
  MetaRow meta;
  meta.uid = in.TakeUid<MemoryUid>();
  meta.epoch = Epoch(in.Take<uint64_t>());
  meta.term = Term(in.Take<uint64_t>());
  meta.turn = Turn(in.Take<uint64_t>());
  meta.step = Step(in.Take<uint64_t>());
  meta.chain = in.TakeHash();
  meta.state_hash = in.TakeHash();
  meta.spec_digest = in.TakeHash();
  meta.live_count = in.Take<uint64_t>();
  meta.forgotten_turn = Turn(in.Take<uint64_t>());
  std::vector<RecordWindow::Chunk> chunks(in.TakeCount(16));
  for (RecordWindow::Chunk& chunk : chunks) {
    chunk.first = Turn(in.Take<uint64_t>());
    chunk.bytes = in.Take<uint64_t>();
  }
  if (!in.AtEnd()) return Corrupt("meta row");
  return StoredMeta{.meta = meta, .window = RecordWindow(std::move(chunks), meta.turn.Next())};
}

std::string EncodeSessionRow(std::string_view row_key, const SessionRow& row) {
  std::string value;
  ByteWriter out(&value);
  out.Put(row.last_turn);
  out.Put(row.last_number);
  out.Put(static_cast<uint32_t>(row.replies.size()));
  for (const SessionRow::Reply& reply : row.replies) {
    out.Put(reply.number);
    out.Put(reply.digest);
    out.Put(reply.reply_bytes);
  }
  SealRow(row_key, &value);
  return value;
}

absl::StatusOr<SessionRow> DecodeSessionRow(std::string_view row_key, const SessionId& id,
                                            std::string_view value) {
  const auto body = OpenSealedRow(row_key, value);
  if (!body) return Corrupt(absl::StrCat("session ", id.ToString()));
  ByteReader in(*body);
  SessionRow row{.id = id, .last_turn = Turn(in.Take<uint64_t>()), .last_number = in.Take<uint64_t>()};
  row.replies.resize(in.TakeCount(8 + 16 + 8));
  for (SessionRow::Reply& reply : row.replies) {
    reply.number = in.Take<uint64_t>();
    reply.digest = in.TakeHash();
    reply.reply_bytes = in.Take<uint64_t>();
  }
  if (!in.AtEnd()) return Corrupt(absl::StrCat("session ", id.ToString()));
  return row;
}

std::string EncodePayload(std::string_view row_key, Step step, std::string_view bytes) {
  std::string value;
  ByteWriter out(&value);
  out.Put(step);
  out.PutRaw(bytes);
  SealRow(row_key, &value);
  return value;
}

absl::StatusOr<Payload> DecodePayload(std::string_view row_key, std::string_view value) {
  const auto body = OpenSealedRow(row_key, value);
  if (!body) return Corrupt("payload");
  ByteReader in(*body);
  Payload payload{.step = Step(in.Take<uint64_t>())};
  if (!in.ok()) return Corrupt("payload");
  payload.bytes = in.TakeRaw(in.remaining());
  return payload;
}

}  // namespace evoke
