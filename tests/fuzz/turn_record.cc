// Turn records: what is decoded is legal, encodes to the very bytes that were read, and can be cut and put together.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string>

#include "storage/bytes.h"
#include "storage/turn_record.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void PutSum(std::string* bytes) { ByteWriter(bytes).Put(uint64_t{XXH3_64bits(bytes->data(), bytes->size())}); }

// From storage/README.md rather than from the encoder: the two have to agree.
std::string WithHeaderAndSums(std::string_view body) {
  constexpr size_t kChainOffset = 16 + 8 + 8 + 8;
  std::string bytes;
  ByteWriter out(&bytes);
  out.PutRaw("EVKT");
  out.Put(uint32_t{1});
  out.Put(uint64_t{body.size()});
  out.PutRaw(body);
  std::string chained(body.size() < kChainOffset + 16 ? std::string_view() : body.substr(kChainOffset, 16));
  chained += body;
  const XXH128_hash_t chain = XXH3_128bits(chained.data(), chained.size());
  out.Put(uint64_t{chain.low64});
  out.Put(uint64_t{chain.high64});
  PutSum(&bytes);
  return bytes;
}

void CheckSlices(const TurnRecord& record, uint64_t partitions) {
  size_t writes = 0, freed = 0;
  for (uint64_t p = 0; p < partitions; ++p) {
    const TurnRecord cut = record.Slice(partitions, [&](Partition of) { return of.value == p; });
    EVOKE_CHECK(CheckTurnRecord(cut).ok());
    EVOKE_CHECK(cut.sessions.size() == record.sessions.size());
    writes += cut.writes.size();
    freed += cut.freed.size();
  }
  EVOKE_CHECK(writes == record.writes.size() && freed == record.freed.size());
}

void Run(std::string_view input) {
  enum { kRaw, kSummed, kBody, kForms };
  ByteReader in(input);
  const int form = in.Take<uint8_t>() % kForms;
  std::string bytes(in.TakeRaw(in.remaining()));
  if (form == kSummed) PutSum(&bytes);
  if (form == kBody) bytes = WithHeaderAndSums(bytes);

  const absl::StatusOr<DecodedTurn> turn = DecodeTurnRecord(bytes);
  if (!turn.ok()) return CheckRefusal(turn.status());
  EVOKE_CHECK(CheckTurnRecord(turn->record).ok());
  const EncodedTurn again = EncodeTurnRecord(turn->record);
  EVOKE_CHECK(again.bytes == bytes);
  EVOKE_CHECK(again.chain == turn->chain);
  CheckSlices(turn->record, 1 + bytes.size() % 5);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
