#include "storage/store_turn_log.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/ram_slot_store.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using testing::TurnBuilder;

class StoreTurnLogTest : public ::testing::Test {
 protected:
  StoreTurnLog::Post Poster() {
    return [this](std::function<void()> work) { posted_.push_back(std::move(work)); };
  }
  void RunPosted() {
    while (!posted_.empty()) {
      const auto work = std::move(posted_.front());
      posted_.pop_front();
      work();
    }
  }
  void Append(StoreTurnLog* log, const TurnRecord& record) {
    log->Append(std::make_shared<TurnRecord>(record), [this, turn = record.turn.value](absl::Status s) {
      told_.push_back(turn);
      statuses_.push_back(s);
    });
  }

  TurnBuilder builder_;
  RamSlotStore store_{{.uid = builder_.model().meta.uid, .payload_history = 4}};
  std::deque<std::function<void()>> posted_;
  std::vector<uint64_t> told_;
  std::vector<absl::Status> statuses_;
};

TEST_F(StoreTurnLogTest, TurnsThatWaitAreOneCommitInOrder) {
  StoreTurnLog log(&store_, Poster());
  for (int i = 0; i < 3; ++i) Append(&log, builder_.Next());
  EXPECT_EQ(posted_.size(), 1u) << "one commit for all";
  EXPECT_TRUE(told_.empty()) << "nothing is done on the caller's thread";
  posted_.front()();
  EXPECT_THAT(told_, ElementsAre(1, 2, 3));
  EXPECT_EQ(store_.AppliedTurn(), Turn(3));
  posted_.pop_front();
  EXPECT_TRUE(posted_.empty());
  Append(&log, builder_.Next());
  RunPosted();
  EXPECT_EQ(store_.AppliedTurn(), Turn(4)) << "it is posted again after it was idle";
}

TEST_F(StoreTurnLogTest, AppendFromDoneIsCommittedToo) {
  StoreTurnLog log(&store_, Poster());
  log.Append(std::make_shared<TurnRecord>(builder_.Next()),
             [&](absl::Status) { Append(&log, builder_.Next()); });
  RunPosted();
  EXPECT_THAT(told_, ElementsAre(2));
  EXPECT_TRUE(statuses_[0].ok());
}

TEST_F(StoreTurnLogTest, AfterAFailureEveryTurnIsToldTheSame) {
  StoreTurnLog log(&store_, Poster());
  Append(&log, builder_.Next());
  builder_.Next();  // never appended
  Append(&log, builder_.Next());
  RunPosted();
  EXPECT_THAT(told_, ElementsAre(1, 3)) << "both were in the commit that failed";
  EXPECT_FALSE(statuses_[0].ok());
  TurnBuilder again;
  Append(&log, again.Next());
  RunPosted();
  EXPECT_THAT(told_, ElementsAre(1, 3, 1));
  EXPECT_EQ(statuses_[2], statuses_[0]) << "though this one would have been legal";
  EXPECT_EQ(store_.AppliedTurn(), Turn(0));
}

TEST_F(StoreTurnLogTest, DestructionTellsWaitingTurnsAndPostedWorkDoesNothing) {
  {
    StoreTurnLog log(&store_, Poster());
    Append(&log, builder_.Next());
  }
  EXPECT_THAT(told_, ElementsAre(1));
  EXPECT_TRUE(absl::IsCancelled(statuses_[0]));
  RunPosted();
  EXPECT_THAT(told_, ElementsAre(1));
  EXPECT_EQ(store_.AppliedTurn(), Turn(0));
}

TEST_F(StoreTurnLogTest, TurnsCommittedOnOtherThreadsAllArrive) {
  std::mutex mu;
  std::deque<std::thread> threads;  // guarded by mu: both sides post
  {
    std::atomic<int> done{0};
    StoreTurnLog log(&store_, [&](std::function<void()> work) {
      const std::lock_guard lock(mu);
      threads.emplace_back(std::move(work));
    });
    for (int i = 0; i < 200; ++i) {
      log.Append(std::make_shared<TurnRecord>(builder_.Next()), [&](absl::Status s) { done += s.ok(); });
      if (i % 50 == 49) {
        while (done <= i) std::this_thread::yield();
      }
    }
    EXPECT_EQ(done, 200);
  }
  // The last thread may have answered while the one that started it is still inside `post`.
  const auto take = [&] {
    const std::lock_guard lock(mu);
    return std::exchange(threads, {});
  };
  for (auto taken = take(); !taken.empty(); taken = take()) {
    for (std::thread& t : taken) t.join();
  }
  EXPECT_EQ(store_.AppliedTurn(), Turn(200));
}

// A commit that takes its time, and says when it began and when it was done.
class SlowStore : public RamSlotStore {
 public:
  using RamSlotStore::RamSlotStore;
  absl::Status Commit(absl::Span<const TurnRecord* const> records) override {
    began = true;
    for (int i = 0; i < 2000; ++i) std::this_thread::yield();
    const absl::Status status = RamSlotStore::Commit(records);
    ended = true;
    return status;
  }
  std::atomic<bool> began{false};
  std::atomic<bool> ended{false};
};

// The store may be closed right after the log.
TEST_F(StoreTurnLogTest, DestructionWaitsForTheCommitUnderWay) {
  for (int round = 0; round < 10; ++round) {
    TurnBuilder builder;
    SlowStore store({.uid = builder.model().meta.uid, .payload_history = 4});
    std::atomic<int> told{0};
    std::thread worker;
    auto log = std::make_unique<StoreTurnLog>(
        &store, [&](std::function<void()> work) { worker = std::thread(std::move(work)); });
    log->Append(std::make_shared<TurnRecord>(builder.Next()), [&](absl::Status) { ++told; });
    while (!store.began) std::this_thread::yield();
    log.reset();
    EXPECT_TRUE(store.ended);
    worker.join();
    EXPECT_EQ(told, 1);
  }
}

}  // namespace
}  // namespace evoke
