#include "evoke/session_pool.h"

#include <set>
#include <thread>

#include "gtest/gtest.h"

namespace evoke::client {
namespace {

TEST(SessionPoolTest, NumbersGrowByOneWithEveryAppliedMutation) {
  SessionPool pool;
  SessionPool::Lease first = pool.Take(7);
  const MutationId id = first.id();
  EXPECT_EQ(id.number, 1u);
  EXPECT_EQ(first.opened_after(), 7u);
  EXPECT_EQ(first.first_unacknowledged(), 1u);
  first.Applied();

  SessionPool::Lease second = pool.Take(9);
  EXPECT_EQ(second.id(), (MutationId{id.session, 2}));
  EXPECT_EQ(second.first_unacknowledged(), 2u);
}

TEST(SessionPoolTest, ConcurrentCallersGetDifferentSessions) {
  SessionPool pool;
  SessionPool::Lease a = pool.Take(1);
  SessionPool::Lease b = pool.Take(1);
  EXPECT_NE(a.id().session, b.id().session);
}

TEST(SessionPoolTest, ARefusedNumberIsOfferedAgainAndOpensAfterTheNewestTurn) {
  SessionPool pool;
  SessionPool::Lease refused = pool.Take(3);
  const MutationId id = refused.id();
  refused.Refused();

  SessionPool::Lease again = pool.Take(8);
  EXPECT_EQ(again.id(), id);
  EXPECT_EQ(again.opened_after(), 8u);
}

TEST(SessionPoolTest, ANumberOfUnknownOutcomeIsNotGivenToAnotherMutation) {
  SessionPool pool;
  SessionPool::Lease lease = pool.Take(1);
  const MutationId id = lease.id();
  lease.Unknown();
  EXPECT_NE(pool.Take(1).id().session, id.session);
}

TEST(SessionPoolTest, ALeaseThatNobodySettledIsParked) {
  SessionPool pool;
  { SessionPool::Lease lease = pool.Take(1); }
  EXPECT_EQ(pool.idle_count(), 0u);
  EXPECT_EQ(pool.parked_count(), 1u);
}

TEST(SessionPoolTest, ResumeTakesUpTheParkedNumberOnceAndThenTheSessionGoesOn) {
  SessionPool pool;
  SessionPool::Lease lease = pool.Take(4);
  const MutationId id = lease.id();
  lease.Unknown();

  std::optional<SessionPool::Lease> resumed = pool.Resume(id);
  ASSERT_TRUE(resumed.has_value());
  EXPECT_EQ(resumed->id(), id);
  EXPECT_EQ(resumed->opened_after(), 4u);
  EXPECT_FALSE(pool.Resume(id).has_value());
  resumed->Applied();
  EXPECT_EQ(pool.Take(4).id(), (MutationId{id.session, 2}));
}

TEST(SessionPoolTest, ResumeOfAnotherNumberOfAParkedSessionIsRefused) {
  SessionPool pool;
  SessionPool::Lease lease = pool.Take(1);
  MutationId id = lease.id();
  lease.Unknown();
  ++id.number;
  EXPECT_FALSE(pool.Resume(id).has_value());
}

TEST(SessionPoolTest, AForgottenSessionIsNeverUsedAgain) {
  SessionPool pool;
  SessionPool::Lease lease = pool.Take(1);
  const Id128 session = lease.id().session;
  lease.Forget();
  EXPECT_EQ(pool.idle_count(), 0u);
  EXPECT_EQ(pool.parked_count(), 0u);
  EXPECT_NE(pool.Take(1).id().session, session);
}

TEST(SessionPoolTest, OpenPassesIdleSessionsBy) {
  SessionPool pool;
  SessionPool::Lease lease = pool.Take(1);
  const Id128 session = lease.id().session;
  lease.Applied();
  EXPECT_NE(pool.Open(5).id().session, session);
}

TEST(SessionPoolTest, BeyondTheLimitTheOldestParkedSessionIsAbandoned) {
  SessionPool pool({.max_parked = 2});
  std::vector<MutationId> ids;
  for (int i = 0; i < 3; ++i) {
    SessionPool::Lease lease = pool.Take(1);
    ids.push_back(lease.id());
    lease.Unknown();
  }
  EXPECT_FALSE(pool.Resume(ids[0]).has_value());
  EXPECT_TRUE(pool.Resume(ids[1]).has_value());
  EXPECT_TRUE(pool.Resume(ids[2]).has_value());
}

TEST(SessionPoolTest, NoNumberIsEverHandedOutTwiceAcrossThreads) {
  SessionPool pool;
  constexpr int kThreads = 4, kMutations = 500;
  std::vector<std::vector<MutationId>> taken(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kMutations; ++i) {
        SessionPool::Lease lease = pool.Take(1);
        taken[t].push_back(lease.id());
        lease.Applied();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<MutationId> all;
  for (const auto& ids : taken) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), size_t{kThreads * kMutations});
  EXPECT_LE(pool.idle_count(), size_t{kThreads});
}

}  // namespace
}  // namespace evoke::client
