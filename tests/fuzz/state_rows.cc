// Format, meta, session and payload rows: what is decoded encodes to the very bytes that were read.
#include <algorithm>
#include <string>

#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "storage/sealed_row.h"
#include "storage/state_rows.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void Format(const std::string& value) {
  const auto row = DecodeFormatRow(KeyLayout::Format(), value);
  if (!row.ok()) return CheckRefusal(row.status());
  EVOKE_CHECK(row->partitions > 0);
  EVOKE_CHECK(EncodeFormatRow(KeyLayout::Format(), *row) == value);
}

void Meta(const std::string& value) {
  const auto row = DecodeMetaRow(KeyLayout::Meta(), value);
  if (!row.ok()) return CheckRefusal(row.status());
  EVOKE_CHECK(row->window.next() == row->meta.turn.Next());
  EVOKE_CHECK(EncodeMetaRow(KeyLayout::Meta(), row->meta, row->window) == value);
  // Whatever the chunks say, the window shrinks to nothing and no loop runs away.
  RecordWindow window = row->window;
  window.Add(100, {.count = 0, .bytes = 0});
  EVOKE_CHECK(window.chunks().size() <= row->window.chunks().size() + 1);
}

void Session(const std::string& value) {
  SessionId id;
  id.bytes.fill(5);
  const std::string key = KeyLayout::Session(id);
  const auto row = DecodeSessionRow(key, id, value);
  if (!row.ok()) return CheckRefusal(row.status());
  EVOKE_CHECK(row->id == id);
  EVOKE_CHECK(EncodeSessionRow(key, *row) == value);
}

void PayloadOf(const std::string& value) {
  const std::string key = KeyLayout(4).Payload(SlotId(9), 2);
  const auto payload = DecodePayload(key, value);
  if (!payload.ok()) return CheckRefusal(payload.status());
  EVOKE_CHECK(EncodePayload(key, payload->step, payload->bytes) == value);
}

void Run(std::string_view input) {
  struct Kind {
    std::string key;
    void (*run)(const std::string& value);
  };
  SessionId id;
  id.bytes.fill(5);
  const Kind kinds[] = {{KeyLayout::Format(), Format},
                        {KeyLayout::Meta(), Meta},
                        {KeyLayout::Session(id), Session},
                        {KeyLayout(4).Payload(SlotId(9), 2), PayloadOf}};
  ByteReader in(input);
  const uint8_t form = in.Take<uint8_t>();
  const Kind& kind = kinds[form / 2 % std::size(kinds)];
  std::string value(in.TakeRaw(in.remaining()));
  if (form % 2 != 0) SealRow(kind.key, &value);
  kind.run(value);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
