// Compares everything a store answers with the model.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke::testing {

// `slots` false: the store keeps none (RamSlotStore).
inline void ExpectHolds(const SlotStore& store, const TurnBuilder& builder, const ModelState& model,
                        bool slots) {
  EXPECT_EQ(store.AppliedTurn(), model.meta.turn);
  const auto meta = store.ReadMeta();
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(*meta, model.meta);

  std::vector<SlotPayloads> wanted;
  for (const auto& [slot, s] : model.slots) wanted.push_back({.slot = SlotId(slot), .hits = s.hits});
  const absl::Status read = store.ReadPayloads(absl::MakeSpan(wanted));
  ASSERT_TRUE(read.ok()) << read;
  for (const SlotPayloads& p : wanted) {
    EXPECT_EQ(p.payloads, model.KeptPayloads(p.slot.value, builder.geometry().payload_history))
        << "slot " << p.slot.value << " with " << p.hits << " hits";
  }

  auto session = model.sessions.begin();
  const absl::Status sessions = store.ScanSessions([&](const SessionRow& row) -> absl::Status {
    if (session == model.sessions.end()) return absl::InternalError("a session too many");
    EXPECT_EQ(row, session->second.row);
    ++session;
    return absl::OkStatus();
  });
  EXPECT_TRUE(sessions.ok()) << sessions;
  EXPECT_EQ(session, model.sessions.end());
  for (const auto& [id, s] : model.sessions) {
    for (uint64_t number = 1; number <= s.row.last_number + 1; ++number) {
      const auto reply = store.ReadReply(id, number);
      const auto expected = s.replies.find(number);
      if (expected == s.replies.end()) {
        EXPECT_TRUE(absl::IsNotFound(reply.status())) << number;
      } else {
        EXPECT_EQ(reply.value(), expected->second) << number;
      }
    }
  }

  if (!slots) return;
  size_t seen = 0;
  for (uint32_t p = 0; p < builder.geometry().partitions; ++p) {
    uint64_t previous = 0;
    const absl::Status scan = store.ScanPartition(Partition(p), [&](const SlotRow& row) {
      EXPECT_EQ(row.slot.value % builder.geometry().partitions, p);
      EXPECT_TRUE(previous == 0 || row.slot.value > previous) << "ascending";
      previous = row.slot.value;
      const auto s = model.slots.find(row.slot.value);
      EXPECT_NE(s, model.slots.end()) << "slot " << row.slot.value << " is free";
      if (s == model.slots.end()) return absl::OkStatus();
      EXPECT_EQ(row.value, s->second.value);
      EXPECT_EQ(row.written_step, s->second.written_step);
      EXPECT_EQ(row.hits, s->second.hits);
      EXPECT_EQ(std::vector<float>(row.key.begin(), row.key.end()), s->second.key);
      ++seen;
      return absl::OkStatus();
    });
    EXPECT_TRUE(scan.ok()) << scan;
  }
  EXPECT_EQ(seen, model.slots.size());
}

// A folder of its own that is gone afterwards.
class TestFolder {
 public:
  TestFolder() {
    std::string path = ::testing::TempDir() + "/evoke-XXXXXX";
    path_ = ::mkdtemp(path.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace evoke::testing
