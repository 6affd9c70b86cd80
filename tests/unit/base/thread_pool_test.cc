#include "server/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace evoke {
namespace {

TEST(ThreadPoolTest, WhatATaskPostsLastRunsOnItsThreadWhenItHasReturned) {
  std::promise<bool> same;
  ThreadPool pool("test", 2);
  pool.Post([&] {
    const auto returned = std::make_shared<bool>(false);
    pool.PostLast([&, returned, thread = std::this_thread::get_id()] {
      same.set_value(*returned && thread == std::this_thread::get_id());
    });
    EXPECT_TRUE(pool.HasLast());
    *returned = true;
  });
  EXPECT_TRUE(same.get_future().get());
}

TEST(ThreadPoolTest, OnlyOneTaskMayWaitForAnotherAndOnlyInItsPool) {
  std::promise<void> second, foreign, over;
  ThreadPool pool("test", 2);
  ThreadPool other("other", 1);
  pool.Post([&] {
    // Two of these would wait for ever if they had to wait for this task.
    other.PostLast([&] { foreign.set_value(); });
    EXPECT_FALSE(other.HasLast());
    pool.PostLast([] {});
    pool.PostLast([&] { second.set_value(); });
    second.get_future().wait();
    foreign.get_future().wait();
    over.set_value();
  });
  over.get_future().wait();
}

TEST(ThreadPoolTest, APoolRunsWhatWasPostedLastBeforeItEnds) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool("test", 1);
    pool.Post([&] { pool.PostLast([&] { pool.PostLast([&] { ++ran; }); }); });
  }
  EXPECT_EQ(ran, 1);
}

TEST(StrandTest, TasksRunInTheirOrderHoweverTheyArePosted) {
  std::vector<int> order;  // no lock: what else would a strand be for?
  std::promise<void> done;
  ThreadPool pool("test", 4);
  Strand strand(&pool);
  constexpr int kTasks = 1000;
  for (int i = 0; i < kTasks; ++i) {
    const auto task = [&, i] {
      order.push_back(i);
      if (i + 1 == kTasks) done.set_value();
    };
    i % 3 == 0 ? strand.PostLast(task) : strand.Post(task);
  }
  done.get_future().wait();
  for (int i = 0; i < kTasks; ++i) ASSERT_EQ(order[i], i);
}

TEST(StrandTest, ATasksSuccessorDoesNotWaitForWhatIsBehindTheTaskInItsStrand) {
  std::promise<void> began;
  std::promise<bool> in_time;
  ThreadPool pool("test", 2);
  Strand first(&pool), second(&pool);
  first.Post([&] {
    first.Post([&] { in_time.set_value(began.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready); });
    second.PostLast([&] { began.set_value(); });
  });
  EXPECT_TRUE(in_time.get_future().get());
}

TEST(ParallelForTest, RunsEveryIndexOnceFromInsideATaskToo) {
  std::vector<std::atomic<int>> ran(100);
  std::promise<void> done;
  ThreadPool pool("test", 2);
  pool.Post([&] {
    ParallelFor(&pool, 2, ran.size(), [&](size_t i) { ++ran[i]; });
    done.set_value();
  });
  done.get_future().wait();
  for (const auto& count : ran) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace evoke
