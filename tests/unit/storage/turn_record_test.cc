#include "storage/turn_record.h"

#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using testing::SessionOf;
using testing::TurnBuilder;
using testing::UidOf;

TurnRecord SmallRecord() {
  return {
      .uid = UidOf(1),
      .epoch = Epoch(2),
      .term = Term(3),
      .turn = Turn(4),
      .previous_chain = {.low = 5, .high = 6},
      .step_before = Step(10),
      .step_after = Step(12),
      .writes = {{.slot = SlotId(8),
                  .kind = WriteKind::kHit,
                  .value = -1,
                  .written_step = Step(11),
                  .hits = 2,
                  .key = {1.0f, -0.0f},
                  .payloads = {{.place = 2, .step = Step(11), .bytes = "text"}}},
                 {.slot = SlotId(3),
                  .kind = WriteKind::kFree,
                  .value = 7,
                  .written_step = Step(12),
                  .key = {0, 1}}},
      .freed = {SlotId(1), SlotId(0)},
      .sessions = {{.kind = SessionOp::Kind::kOpen, .session = SessionOf(9)},
                   {.session = SessionOf(9), .number = 1, .digest = {.low = 1, .high = 2}, .reply = "ok"}},
      .state_hash = {.low = 7, .high = 8},
      .live_after = 2};
}

// Makes the sums of changed bytes hold again: what is left to find is the content.
void Reseal(std::string* bytes) {
  const size_t body = 16, end = bytes->size() - 24;
  std::string chained =
      bytes->substr(body + 40, 16) + bytes->substr(body, end - body);  // previous chain | body
  const XXH128_hash_t chain = XXH3_128bits(chained.data(), chained.size());
  std::memcpy(bytes->data() + end, &chain.low64, 8);
  std::memcpy(bytes->data() + end + 8, &chain.high64, 8);
  const uint64_t sum = XXH3_64bits(bytes->data(), bytes->size() - 8);
  std::memcpy(bytes->data() + bytes->size() - 8, &sum, 8);
}

void ExpectCorrupt(const TurnRecord& record, const std::string& why) {
  const auto decoded = DecodeTurnRecord(EncodeTurnRecord(record).bytes);
  EXPECT_TRUE(absl::IsDataLoss(decoded.status())) << decoded.status();
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(why));
}

TEST(TurnRecordTest, ComesBackAsItWas) {
  const EncodedTurn encoded = EncodeTurnRecord(SmallRecord());
  const auto decoded = DecodeTurnRecord(encoded.bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->record, SmallRecord());
  EXPECT_EQ(decoded->chain, encoded.chain);
  EXPECT_TRUE(std::signbit(decoded->record.writes[0].key[1])) << "raw bits are kept";
}

TEST(TurnRecordTest, RandomRecordsComeBackAndEncodeToTheSameBytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    TurnBuilder builder({}, seed);
    for (int i = 0; i < 20; ++i) {
      const TurnRecord record = builder.Next();
      const std::string bytes = EncodeTurnRecord(record).bytes;
      const auto decoded = DecodeTurnRecord(bytes);
      ASSERT_TRUE(decoded.ok()) << decoded.status() << ", seed " << seed;
      ASSERT_EQ(decoded->record, record);
      ASSERT_EQ(EncodeTurnRecord(decoded->record).bytes, bytes);
    }
  }
}

// The bytes of version 1, for ever: a record written today must be read by every later program.
TEST(TurnRecordTest, FormatHasNotChanged) {
  const EncodedTurn encoded = EncodeTurnRecord(SmallRecord());
  EXPECT_EQ(encoded.bytes.size(), 365u);
  EXPECT_EQ(encoded.chain.ToString(), "67c3711e3ef5dbe0547471a8dd7b11c8");
  EXPECT_EQ(encoded.bytes.substr(0, 16), std::string("EVKT\x01\0\0\0\x45\x01\0\0\0\0\0\0", 16));
}

TEST(TurnRecordTest, EveryFlippedBitIsFound) {
  const std::string good = EncodeTurnRecord(SmallRecord()).bytes;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_TRUE(absl::IsDataLoss(DecodeTurnRecord(bad).status())) << "bit " << bit;
  }
}

TEST(TurnRecordTest, EveryTruncationAndEveryTailIsFound) {
  const std::string good = EncodeTurnRecord(SmallRecord()).bytes;
  for (size_t size = 0; size < good.size(); ++size) {
    // A copy of its own, so that a read beyond its end is a read beyond an allocation.
    const std::vector<char> cut(good.begin(), good.begin() + size);
    ASSERT_TRUE(absl::IsDataLoss(DecodeTurnRecord({cut.data(), cut.size()}).status())) << size << " bytes";
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeTurnRecord(good + '\0').status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeTurnRecord(good + good).status()));
}

TEST(TurnRecordTest, ChangedBytesWithGoodSumsNeverHurt) {
  const std::string good = EncodeTurnRecord(SmallRecord()).bytes;
  std::mt19937_64 random(5);
  int decoded_count = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (int changes = 1 + random() % 3; changes > 0; --changes) {
      bad[16 + random() % (bad.size() - 16 - 24)] = static_cast<char>(random() % 4 ? random() : 0xff);
    }
    Reseal(&bad);
    const std::vector<char> exact(bad.begin(), bad.end());
    decoded_count += DecodeTurnRecord({exact.data(), exact.size()}).ok();
  }
  EXPECT_GT(decoded_count, 1000) << "the sums were made to hold, so that the content is reached";
  EXPECT_LT(decoded_count, 19000);
}

TEST(TurnRecordTest, BodyCutShortWithGoodSumsIsFound) {
  const std::string good = EncodeTurnRecord(SmallRecord()).bytes;
  for (size_t drop = 1; drop + 16 + 56 + 24 < good.size(); ++drop) {
    std::string bad = good.substr(0, good.size() - 24 - drop) + std::string(24, '\0');
    const uint64_t body = bad.size() - 16 - 24;
    std::memcpy(bad.data() + 8, &body, 8);
    Reseal(&bad);
    const std::vector<char> exact(bad.begin(), bad.end());
    ASSERT_TRUE(absl::IsDataLoss(DecodeTurnRecord({exact.data(), exact.size()}).status())) << drop;
  }
}

TEST(TurnRecordTest, BytesLeftOverInTheBodyAreFoundThoughTheSumsAreGood) {
  std::string bytes = EncodeTurnRecord(SmallRecord()).bytes;
  bytes.insert(bytes.size() - 24, 1, '\0');
  const uint64_t body = bytes.size() - 16 - 24;
  std::memcpy(bytes.data() + 8, &body, 8);
  Reseal(&bytes);
  EXPECT_TRUE(absl::IsDataLoss(DecodeTurnRecord(bytes).status()));
}

TEST(TurnRecordTest, ChainThatDoesNotFollowFromTheBodyIsFound) {
  std::string bytes = EncodeTurnRecord(SmallRecord()).bytes;
  bytes[bytes.size() - 24] ^= 1;
  const uint64_t sum = XXH3_64bits(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
  const absl::Status status = DecodeTurnRecord(bytes).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("chain"));
}

TEST(TurnRecordTest, NewerVersionIsNamedBesideOurs) {
  std::string bytes = EncodeTurnRecord(SmallRecord()).bytes;
  bytes[4] = 9;
  Reseal(&bytes);
  const absl::Status status = DecodeTurnRecord(bytes).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 9, this program reads 1"));
}

TEST(TurnRecordTest, SlotThatAppearsTwiceIsRefused) {
  TurnRecord record = SmallRecord();
  record.writes[1].slot = record.writes[0].slot;
  ExpectCorrupt(record, "slot 8 appears twice");
  record = SmallRecord();
  record.freed = {SlotId(3)};
  ExpectCorrupt(record, "slot 3 appears twice");
}

TEST(TurnRecordTest, WritesOutOfOrderAreRefused) {
  TurnRecord record = SmallRecord();
  record.writes[1].written_step = record.writes[0].written_step;
  ExpectCorrupt(record, "not after 11");
}

TEST(TurnRecordTest, UnknownKindsAreRefused) {
  TurnRecord record = SmallRecord();
  record.writes[0].kind = static_cast<WriteKind>(7);
  ExpectCorrupt(record, "unknown kind 7");
  record = SmallRecord();
  record.sessions[0].kind = static_cast<SessionOp::Kind>(5);
  ExpectCorrupt(record, "unknown kind 5");
  record = SmallRecord();
  record.admin = static_cast<AdminOp>(5);
  ExpectCorrupt(record, "admin operation 5");
}

TEST(TurnRecordTest, AForkOrRestoreNamesItsOriginAndNothingElseDoes) {
  TurnRecord record = SmallRecord();
  record.admin = AdminOp::kRestore;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckTurnRecord(record)));
  record.origin = StateOrigin{.uid = record.uid,
                              .epoch = Epoch(1),
                              .turn = Turn(5),
                              .step = Step(9),
                              .chain = {.low = 1, .high = 2},
                              .state_hash = {.low = 3, .high = 4}};
  const absl::StatusOr<DecodedTurn> decoded = DecodeTurnRecord(EncodeTurnRecord(record).bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->record, record);
  record.admin = AdminOp::kImport;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckTurnRecord(record)));
}

TEST(TurnRecordTest, ChainNamesTheHistoryAndTheContent) {
  const Hash128 chain = EncodeTurnRecord(SmallRecord()).chain;
  TurnRecord record = SmallRecord();
  record.previous_chain.low ^= 1;
  EXPECT_NE(EncodeTurnRecord(record).chain, chain);
  record = SmallRecord();
  record.live_after++;
  EXPECT_NE(EncodeTurnRecord(record).chain, chain);
}

TEST(TurnRecordTest, SlicesCoverTheRecordAndNothingTwice) {
  std::mt19937_64 random(3);
  TurnBuilder builder({.capacity = 200});
  for (int i = 0; i < 50; ++i) {
    const TurnRecord record = builder.Next();
    const uint64_t partitions = uint64_t{1} << random() % 6;
    const uint64_t shards = 1 + random() % 5;
    std::map<uint64_t, SlotWrite> writes;
    std::map<uint64_t, int> freed;
    for (uint64_t shard = 0; shard < shards; ++shard) {
      TurnRecord slice = record.Slice(partitions, [&](Partition p) { return p.value % shards == shard; });
      for (const SlotWrite& w : slice.writes) ASSERT_TRUE(writes.emplace(w.slot.value, w).second);
      for (const SlotId slot : slice.freed) freed[slot.value]++;
      slice.writes = record.writes;
      slice.freed = record.freed;
      ASSERT_EQ(slice, record) << "everything but the slots is whole";
    }
    ASSERT_EQ(writes.size(), record.writes.size());
    for (const SlotWrite& w : record.writes) ASSERT_EQ(writes.at(w.slot.value), w);
    ASSERT_EQ(freed.size(), record.freed.size());
  }
}

}  // namespace
}  // namespace evoke
