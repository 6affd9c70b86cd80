// Keys and values of the store's rows.
#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "storage/payload_ring.h"
#include "storage/slot_record.h"
#include "storage/state_rows.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SessionOf;
using testing::UidOf;

TEST(BytesTest, NumbersComeBackAndKeysAreBigEndian) {
  std::string bytes;
  ByteWriter out(&bytes);
  out.Put(uint8_t{1});
  out.Put(int64_t{-2});
  out.Put(Hash128{.low = 3, .high = 4});
  out.PutBigEndian(uint32_t{0x01020304});
  out.PutString("five");
  ByteReader in(bytes);
  EXPECT_EQ(in.Take<uint8_t>(), 1);
  EXPECT_EQ(in.Take<int64_t>(), -2);
  EXPECT_EQ(in.TakeHash(), (Hash128{.low = 3, .high = 4}));
  EXPECT_EQ(bytes.substr(25, 4), std::string("\x01\x02\x03\x04"));
  EXPECT_EQ(in.TakeBigEndian<uint32_t>(), 0x01020304u);
  EXPECT_EQ(in.TakeString(), "five");
  EXPECT_TRUE(in.AtEnd());
}

TEST(BytesTest, ReadBeyondTheEndFailsForGood) {
  ByteReader in(std::string_view("\x01\x02", 2));
  EXPECT_EQ(in.Take<uint32_t>(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.Take<uint8_t>(), 0) << "though a byte is left";
  EXPECT_FALSE(in.AtEnd());
}

TEST(BytesTest, CountThatCannotFollowIsZero) {
  const std::string bytes("\x03\0\0\0aabb", 8);
  ByteReader fits(bytes);
  EXPECT_EQ(fits.TakeCount(1), 3u);
  ByteReader too_many(bytes);
  EXPECT_EQ(too_many.TakeCount(2), 0u);
  EXPECT_FALSE(too_many.ok());
}

TEST(KeyLayoutTest, SlotsAreOrderedByPartitionThenBlock) {
  std::mt19937_64 random(1);
  for (const uint32_t partitions : {1u, 64u, 65536u}) {
    const KeyLayout layout(partitions);
    std::vector<uint64_t> slots{0, 1, 255, 256, 65535, 65536, (uint64_t{1} << 31) - 1, uint64_t{1} << 40};
    for (int i = 0; i < 200; ++i) slots.push_back(random() >> (random() % 64));
    const auto before = [&](uint64_t a, uint64_t b) {
      return std::pair(a % partitions, a / partitions) < std::pair(b % partitions, b / partitions);
    };
    std::sort(slots.begin(), slots.end(), before);
    for (size_t i = 0; i < slots.size(); ++i) {
      EXPECT_EQ(layout.ParseSlot(layout.Slot(SlotId(slots[i]))), SlotId(slots[i]));
      if (i > 0 && slots[i - 1] != slots[i]) {
        EXPECT_LT(layout.Slot(SlotId(slots[i - 1])), layout.Slot(SlotId(slots[i])));
        EXPECT_LT(layout.Payload(SlotId(slots[i - 1]), 65535), layout.Payload(SlotId(slots[i]), 0));
      }
    }
  }
}

TEST(KeyLayoutTest, PartitionIsOneRange) {
  const KeyLayout layout(64);
  for (uint64_t slot : {0ull, 63ull, 64ull, 4095ull, 1ull << 60}) {
    for (uint64_t p = 0; p < 64; ++p) {
      for (const RowKind kind : {RowKind::kSlot, RowKind::kPayload}) {
        const std::string key =
            kind == RowKind::kSlot ? layout.Slot(SlotId(slot)) : layout.Payload(SlotId(slot), 3);
        const KeyRange range = KeyLayout::Of(kind, Partition(p));
        EXPECT_EQ(range.begin <= key && key < range.end, slot % 64 == p);
      }
    }
  }
}

TEST(KeyLayoutTest, KindsDoNotMix) {
  const KeyLayout layout(2);
  const SessionId last = SessionOf(0xff);
  const std::vector<std::string> ascending{
      KeyLayout::Format(),          KeyLayout::Meta(),           layout.Slot(SlotId(~uint64_t{0})),
      layout.Payload(SlotId(0), 0), KeyLayout::Session(last),    KeyLayout::Reply(SessionOf(0), 1),
      KeyLayout::Reply(last, 255),  KeyLayout::Reply(last, 256), KeyLayout::Record(Turn(255)),
      KeyLayout::Record(Turn(256))};
  EXPECT_TRUE(std::is_sorted(ascending.begin(), ascending.end()));
  for (const std::string& key : ascending) {
    const auto kind = static_cast<RowKind>(key[0]);
    EXPECT_TRUE(KeyLayout::All(kind).begin <= key && key < KeyLayout::All(kind).end);
    EXPECT_EQ(layout.ParseSlot(key).has_value(), kind == RowKind::kSlot);
    EXPECT_EQ(KeyLayout::ParseSession(key).has_value(), kind == RowKind::kSession);
    EXPECT_EQ(KeyLayout::ParseRecord(key).has_value(), kind == RowKind::kRecord);
  }
}

TEST(SlotRecordTest, ComesBackAndEveryFlippedBitNamesTheSlot) {
  const SlotWrite write{
      .slot = SlotId(77), .value = -5, .written_step = Step(9), .hits = 3, .key = {0.6f, -0.8f}};
  const std::string key = KeyLayout(4).Slot(write.slot);
  std::string value;
  EncodeSlotRow(key, write, &value);
  std::vector<float> buffer;
  const auto row = DecodeSlotRow(key, write.slot, value, 2, &buffer);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->value, -5);
  EXPECT_EQ(row->written_step, Step(9));
  EXPECT_EQ(row->hits, 3u);
  EXPECT_THAT(row->key, ElementsAre(0.6f, -0.8f));
  for (size_t bit = 0; bit < 8 * value.size(); ++bit) {
    std::string bad = value;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const absl::Status status = DecodeSlotRow(key, write.slot, bad, 2, &buffer).status();
    ASSERT_TRUE(absl::IsDataLoss(status)) << "bit " << bit;
    ASSERT_THAT(std::string(status.message()), HasSubstr("slot 77"));
  }
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeSlotRow(key, write.slot, value.substr(0, size), 2, &buffer).status()));
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeSlotRow(key, write.slot, value, 3, &buffer).status()))
      << "another dimension";
}

TEST(SlotRecordTest, RowUnderAnotherKeyIsFound) {
  const KeyLayout layout(4);
  std::string value;
  EncodeSlotRow(layout.Slot(SlotId(1)), {.slot = SlotId(1), .key = {1.0f}}, &value);
  std::vector<float> buffer;
  EXPECT_TRUE(absl::IsDataLoss(DecodeSlotRow(layout.Slot(SlotId(2)), SlotId(2), value, 1, &buffer).status()));
}

template <typename Decode>
void ExpectEveryFlipFound(const std::string& value, Decode decode) {
  for (size_t bit = 0; bit < 8 * value.size(); ++bit) {
    std::string bad = value;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_TRUE(absl::IsDataLoss(decode(bad).status())) << "bit " << bit;
  }
}

TEST(StateRowsTest, RowsComeBackAndEveryFlippedBitIsFound) {
  const MetaRow meta{.uid = UidOf(1),
                     .epoch = Epoch(2),
                     .term = Term(3),
                     .turn = Turn(9),
                     .step = Step(5),
                     .chain = {.low = 6, .high = 7},
                     .state_hash = {.low = 8, .high = 9},
                     .spec_digest = {.low = 10, .high = 11},
                     .live_count = 12,
                     .forgotten_turn = Turn(4)};
  const RecordWindow window({{.first = Turn(3), .bytes = 100}, {.first = Turn(7), .bytes = 50}}, Turn(10));
  const std::string meta_bytes = EncodeMetaRow("k", meta, window);
  const auto stored = DecodeMetaRow("k", meta_bytes);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->meta, meta);
  EXPECT_EQ(stored->window.chunks(), window.chunks());
  EXPECT_EQ(stored->window.next(), Turn(10));
  ExpectEveryFlipFound(meta_bytes, [](const std::string& v) { return DecodeMetaRow("k", v); });

  const SessionRow session{.id = SessionOf(1),
                           .last_turn = Turn(2),
                           .last_number = 3,
                           .replies = {{2, {.low = 4, .high = 5}, 6}, {3, {.low = 7, .high = 8}, 9}}};
  const std::string session_bytes = EncodeSessionRow("k", session);
  const auto read = DecodeSessionRow("k", session.id, session_bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, session);
  ExpectEveryFlipFound(session_bytes,
                       [](const std::string& v) { return DecodeSessionRow("k", SessionOf(1), v); });

  const std::string payload_bytes = EncodePayload("k", Step(4), "text");
  EXPECT_EQ(*DecodePayload("k", payload_bytes), (Payload{.step = Step(4), .bytes = "text"}));
  ExpectEveryFlipFound(payload_bytes, [](const std::string& v) { return DecodePayload("k", v); });

  const FormatRow format{.key_dim = 1, .partitions = 2, .payload_history = 3};
  EXPECT_EQ(*DecodeFormatRow("k", EncodeFormatRow("k", format)), format);
}

TEST(PayloadRingTest, TheFirstAndTheLatestPlacesAreValid) {
  EXPECT_THAT(ValidPlaces(5, 0), IsEmpty());
  EXPECT_THAT(ValidPlaces(5, 1), ElementsAre(0));
  EXPECT_THAT(ValidPlaces(0, 4), ElementsAre(0));
  EXPECT_THAT(ValidPlaces(2, 4), ElementsAre(0, 1, 2));
  EXPECT_THAT(ValidPlaces(4, 4), ElementsAre(0, 2, 3, 1));
  EXPECT_THAT(ValidPlaces(~uint32_t{0}, 2), ElementsAre(0, 1));
}

TEST(RecordWindowTest, KeepsTheLatestByCountAndBytes) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    const RecordWindow::Limits limits{.count = random() % 100, .bytes = random() % 3000};
    RecordWindow window;
    std::vector<uint64_t> bytes{0};
    for (uint64_t turn = 1; turn <= 300; ++turn) {
      const uint64_t first_before = window.first().value;
      bytes.push_back(1 + random() % 60);
      window.Add(bytes.back(), limits);
      const uint64_t first = window.first().value;
      ASSERT_GE(first, first_before);
      uint64_t kept_bytes = 0;
      for (uint64_t t = first; t <= turn; ++t) kept_bytes += bytes[t];
      ASSERT_LE(turn + 1 - first, limits.count);
      ASSERT_LE(kept_bytes, limits.bytes);
      // Nothing was dropped without need: one chunk more would have broken a limit.
      if (first > 1) {
        ASSERT_TRUE(turn + 1 - first + limits.count / 16 + 1 > limits.count ||
                    kept_bytes + limits.bytes / 16 + 2 * 60 > limits.bytes);
      }
      ASSERT_LE(window.chunks().size(), 34u);
    }
  }
}

TEST(RecordWindowTest, CutDropsTheTurnsBefore) {
  RecordWindow window;
  for (int i = 0; i < 100; ++i) window.Add(1, {.count = 1000, .bytes = 1000});
  window.CutBefore(Turn(42));
  EXPECT_EQ(window.first(), Turn(42));
  window.CutBefore(Turn(7));
  EXPECT_EQ(window.first(), Turn(42)) << "what is gone does not come back";
  window.CutBefore(Turn(500));
  EXPECT_EQ(window.first(), Turn(101)) << "nothing kept";
}

}  // namespace
}  // namespace evoke
