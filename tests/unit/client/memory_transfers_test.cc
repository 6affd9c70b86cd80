// Export and Import, seen from the caller of the library, against a server that misbehaves.
#include "evoke/transfers.h"

#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::SizeIs;

const Fault kLost = {.apply = true};

class MemoryTransfersTest : public testing::Test {
 protected:
  MemoryTransfersTest() {
    server_.AddMemory("faces", 2);
    client_ =
        *Client::Connect({.addresses = {server_.address()}, .deadline = absl::Seconds(10), .clock = clock_});
    memory_.emplace(*client_->OpenMemory("faces"));
  }

  // Rows written at steps first to last.
  static SlotRows Rows(uint64_t first, uint64_t last) {
    SlotRows rows;
    for (uint64_t step = first; step <= last; ++step) {
      rows.slots.push_back(100 - step);
      rows.values.push_back(-static_cast<int64_t>(step));
      rows.written_steps.push_back(step);
      rows.hits.push_back(static_cast<uint32_t>(step % 3));
      rows.keys.insert(rows.keys.end(), {0.0f, 1.0f});
    }
    rows.payloads.push_back({.row = 0, .place = 1, .step = first, .data = "why"});
    return rows;
  }
  absl::Status Collect(const ExportRequest& request = {}) {
    return memory_->Export(request, {.begin =
                                         [&](const ExportedState& state) {
                                           states_.push_back(state);
                                           return absl::OkStatus();
                                         },
                                     .rows =
                                         [&](const SlotRows& rows) {
                                           steps_.insert(steps_.end(), rows.written_steps.begin(),
                                                         rows.written_steps.end());
                                           for (const PlacedPayload& p : rows.payloads)
                                             payloads_.push_back(p.data);
                                           return sink_status_;
                                         }});
  }

  std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::optional<Memory> memory_;
  std::vector<ExportedState> states_;
  std::vector<uint64_t> steps_;
  std::vector<std::string> payloads_;
  absl::Status sink_status_;
};

TEST_F(MemoryTransfersTest, AnImportWhoseReplyWasLostIsAppliedOnce) {
  server_.Fail("Import", {kLost});
  const SlotRows rows = Rows(1, 5);
  const auto imported = memory_->Import(ImportSlotsRequest{.rows = rows, .step_after = 9});
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->live_slots, 5u);
  EXPECT_EQ(imported->slots, rows.slots);
  const auto calls = server_.calls("Import");
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[0].session, calls[1].session);
  EXPECT_EQ(calls[0].number, calls[1].number);
  EXPECT_EQ(server_.step("faces"), 9u);
}

TEST_F(MemoryTransfersTest, ColumnsOfDifferentLengthsAreNotSent) {
  SlotRows rows = Rows(1, 2);
  rows.hits.pop_back();
  const auto imported = memory_->Import(ImportSlotsRequest{.rows = rows});
  EXPECT_EQ(GetErrorDetails(imported.status()).reason, "BAD_SHAPE");
  EXPECT_THAT(server_.calls("Import"), SizeIs(0));
}

TEST_F(MemoryTransfersTest, AnExportThatBreaksOffGoesOnBehindItsLastRow) {
  ASSERT_TRUE(memory_->Import(ImportSlotsRequest{.rows = Rows(1, 7)}).ok());
  server_.Fail("Export", {kLost, kLost, {}});
  ASSERT_TRUE(Collect().ok());
  EXPECT_THAT(steps_, ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(payloads_, ElementsAre("why"));
  ASSERT_THAT(states_, SizeIs(1)) << "begun once";
  EXPECT_EQ(states_[0].live_slots, 7u);
  EXPECT_THAT(server_.calls("Export"), SizeIs(4));
}

TEST_F(MemoryTransfersTest, AnExportOfAMemoryThatWentOnIsRefused) {
  ASSERT_TRUE(memory_->Import(ImportSlotsRequest{.rows = Rows(1, 3)}).ok());
  const absl::Status changed = Collect({.after_step = 2, .required_turn = 1});
  EXPECT_EQ(GetErrorDetails(changed).reason, "EXPORT_CHANGED");
  EXPECT_THAT(states_, SizeIs(0));
}

TEST_F(MemoryTransfersTest, WhatTheSinkRefusesEndsTheExport) {
  ASSERT_TRUE(memory_->Import(ImportSlotsRequest{.rows = Rows(1, 6)}).ok());
  sink_status_ =
      absl::UnavailableError("the disk is full");  // which would be repeated if it were the server's
  EXPECT_EQ(Collect(), sink_status_);
  EXPECT_THAT(steps_, ElementsAre(1, 2));
  EXPECT_THAT(server_.calls("Export"), SizeIs(1));
}

}  // namespace
}  // namespace evoke::client
