#include "server/engine/mailbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

struct Sent {
  uint64_t client = 0;
  std::string session;  // empty: a read
  uint64_t number = 1;
  uint32_t rows = 1;
  size_t payload_bytes = 0;
};

Task TaskOf(const Sent& sent) {
  ObserveCall call;
  call.rows.skip.assign(sent.rows, 0);
  if (sent.payload_bytes > 0) call.payloads = {std::string(sent.payload_bytes, 'p')};
  if (!sent.session.empty()) {
    std::string id = sent.session;
    id.resize(16, '.');
    call.mutation = MutationId{.session = SessionId::FromView(id), .number = sent.number};
  }
  return {.client = sent.client, .call = std::move(call)};
}

Task ClearOf(uint64_t client, const std::string& session, uint64_t number) {
  std::string id = session;
  id.resize(16, '.');
  return {.client = client,
          .call = ClearCall{.mutation = {.session = SessionId::FromView(id), .number = number}}};
}

bool Enters(Task&) { return true; }

uint64_t RowsOf(const std::vector<Task>& turn, uint64_t client) {
  uint64_t rows = 0;
  for (const Task& task : turn) rows += task.client == client ? task.mailbox_rows() : 0;
  return rows;
}

// Turns until one has a task of this client; that one counts.
int TurnsUntil(uint64_t client, Mailbox* mailbox) {
  for (int turns = 1; mailbox->due(); ++turns) {
    if (RowsOf(mailbox->TakeTurn(Enters), client) > 0) return turns;
  }
  return -1;
}

constexpr uint64_t kGreedy = 1;
constexpr uint64_t kPolite = 2;

TEST(MailboxTest, ATurnTakesWhatWaitsUpToItsRowsAndALargerTaskAlone) {
  Mailbox mailbox({.turn_rows = 10});
  for (uint32_t rows : {4, 6, 1, 30}) mailbox.Push(TaskOf({.session = "s", .rows = rows}));
  EXPECT_EQ(mailbox.TakeTurn(Enters).size(), 2u);
  EXPECT_EQ(mailbox.TakeTurn(Enters).size(), 1u);
  EXPECT_EQ(mailbox.rows(), 30u);
  EXPECT_EQ(mailbox.TakeTurn(Enters).size(), 1u);
  EXPECT_FALSE(mailbox.due());
  EXPECT_EQ(mailbox.rows() + mailbox.bytes(), 0u);
}

TEST(MailboxTest, ATurnTakesAsManyMutationsAsItMay) {
  Mailbox mailbox({.turn_mutations = 2});
  for (uint64_t n = 1; n <= 3; ++n) mailbox.Push(TaskOf({.session = "s", .number = n}));
  EXPECT_EQ(mailbox.TakeTurn(Enters).size(), 2u);
}

TEST(MailboxTest, OneCallOfAPoliteClientIsInTheNextTurnHoweverManyCallsAGreedyOneHas) {
  for (const bool sessions : {false, true}) {  // 64 calls of one session, or of a session each
    Mailbox mailbox({.turn_rows = 256});
    for (int i = 0; i < 64; ++i) {
      mailbox.Push(TaskOf({.client = kGreedy, .session = "g" + std::to_string(sessions ? i : 0), .rows = 64}));
    }
    mailbox.TakeTurn(Enters);  // under way when the polite one comes
    mailbox.Push(TaskOf({.client = kPolite, .session = "p", .rows = 64}));
    EXPECT_EQ(TurnsUntil(kPolite, &mailbox), 1);
  }
}

TEST(MailboxTest, AReadIsInTheNextTurnBesideSessionsOfAnotherClient) {
  Mailbox mailbox({.turn_rows = 256});
  for (int i = 0; i < 64; ++i) {
    mailbox.Push(TaskOf({.client = kGreedy, .session = "g" + std::to_string(i), .rows = 64}));
  }
  mailbox.Push(TaskOf({.client = kPolite}));
  EXPECT_EQ(TurnsUntil(kPolite, &mailbox), 1);
}

TEST(MailboxTest, SessionsOfOneConnectionShareItsTurns) {
  Mailbox mailbox({.turn_rows = 128});
  for (uint64_t n = 1; n <= 64; ++n) mailbox.Push(TaskOf({.client = kGreedy, .session = "a", .number = n, .rows = 32}));
  mailbox.Push(TaskOf({.client = kGreedy, .session = "b", .rows = 32}));
  const std::vector<Task> turn = mailbox.TakeTurn(Enters);
  EXPECT_TRUE(std::any_of(turn.begin(), turn.end(), [](const Task& t) { return t.mutation()->session.View()[0] == 'b'; }));
}

TEST(MailboxTest, ClientsThatAlwaysWaitGetEqualRowsWhateverTheirCallsAre) {
  Mailbox mailbox({.rows = 1 << 20, .turn_rows = 512});
  std::vector<uint64_t> served(4), waiting(4), number(4);
  const std::vector<uint32_t> rows = {0, 1, 16, 256};
  for (int turn = 0; turn < 400; ++turn) {
    for (uint64_t c = 1; c <= 3; ++c) {
      for (; waiting[c] < 2048; waiting[c] += rows[c]) {
        // The second one spreads its calls over many sessions.
        const std::string session = std::to_string(c) + (c == 2 ? std::to_string(++number[c] % 50) : "");
        mailbox.Push(TaskOf({.client = c, .session = session, .rows = rows[c]}));
      }
    }
    for (const Task& task : mailbox.TakeTurn(Enters)) {
      served[task.client] += task.mailbox_rows();
      waiting[task.client] -= task.mailbox_rows();
    }
  }
  const uint64_t third = (served[1] + served[2] + served[3]) / 3;
  for (uint64_t c = 1; c <= 3; ++c) EXPECT_NEAR(served[c], third, third / 50) << "client " << c;
}

TEST(MailboxTest, AClientWithManySessionsIsNotStarvedByOneThatSendsAgainAtOnce) {
  Mailbox mailbox({.turn_rows = 64});
  for (int i = 0; i < 8; ++i) mailbox.Push(TaskOf({.client = kGreedy, .session = "g" + std::to_string(i), .rows = 64}));
  int turns = 0;
  uint64_t greedy = 0;
  while (greedy < 8 * 64) {
    mailbox.Push(TaskOf({.client = kPolite, .session = "p", .rows = 64}));
    greedy += RowsOf(mailbox.TakeTurn(Enters), kGreedy);
    ASSERT_LE(++turns, 20);
  }
}

TEST(MailboxTest, MutationsOfASessionStayInOrderByWhateverConnectionTheyCome) {
  std::mt19937_64 random(7);
  Mailbox mailbox({.rows = 1 << 20, .turn_rows = 64});
  std::vector<uint64_t> sent(20), taken(20);
  for (int round = 0; round < 3000; ++round) {
    const size_t s = random() % 20;
    mailbox.Push(TaskOf({.client = random() % 3,
                         .session = std::string(1, static_cast<char>('a' + s)),
                         .number = ++sent[s],
                         .rows = static_cast<uint32_t>(1 + random() % 40)}));
    if (random() % 8 > 0) continue;
    for (const Task& task : mailbox.TakeTurn(Enters)) {
      const size_t of = static_cast<size_t>(task.mutation()->session.View()[0] - 'a');
      ASSERT_EQ(task.mutation()->number, ++taken[of]);
    }
  }
  while (mailbox.due()) mailbox.TakeTurn(Enters);
  EXPECT_EQ(mailbox.rows() + mailbox.bytes(), 0u);
}

TEST(MailboxTest, AClearIsAloneAndInTheOrderOfItsSession) {
  Mailbox mailbox({});
  mailbox.Push(TaskOf({.client = kGreedy, .session = "a", .number = 1}));
  mailbox.Push(ClearOf(kGreedy, "a", 2));
  mailbox.Push(TaskOf({.client = kGreedy, .session = "a", .number = 3}));
  mailbox.Push(TaskOf({.client = kPolite, .session = "b"}));
  std::vector<uint64_t> order;
  while (mailbox.due()) {
    const std::vector<Task> turn = mailbox.TakeTurn(Enters);
    for (const Task& task : turn) {
      if (std::holds_alternative<ClearCall>(task.call)) {
        EXPECT_EQ(turn.size(), 1u);
      }
      if (task.client == kGreedy) order.push_back(task.mutation()->number);
    }
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{1, 2, 3}));
}

TEST(MailboxTest, ATaskThatMayNotEnterTakesNoPlaceOfTheTurn) {
  Mailbox mailbox({.turn_rows = 10});
  for (int i = 0; i < 5; ++i) mailbox.Push(TaskOf({.client = kGreedy, .rows = 6}));
  mailbox.Push(TaskOf({.client = kPolite, .rows = 10}));
  const auto turn = mailbox.TakeTurn([](Task& task) { return task.client == kPolite; });
  EXPECT_EQ(RowsOf(turn, kPolite), 10u);
}

// --- limits --------------------------------------------------------------------------------------------------------

std::string FieldOf(const absl::Status& status) {
  if (status.ok()) return "OK";
  const auto detail = DetailOf(status);
  EXPECT_EQ(detail->reason, "MAILBOX_FULL");
  EXPECT_TRUE(detail->retry_delay.has_value());
  return detail->metadata.at("field") + " " + detail->metadata.at("observed") + " " + detail->metadata.at("limit");
}

TEST(MailboxTest, TooManyRowsAreRefusedWithBothNumbers) {
  Mailbox mailbox({.rows = 10});
  mailbox.Push(TaskOf({.client = kGreedy, .rows = 5}));
  const absl::Status full = mailbox.Refusal("faces", TaskOf({.client = kPolite, .rows = 6}));
  EXPECT_EQ(FieldOf(full), "rows 11 10");
  EXPECT_EQ(full.message(), "the mailbox of memory \"faces\" holds 5 rows, 6 more exceed 10");
  EXPECT_TRUE(mailbox.Refusal("faces", TaskOf({.client = kPolite, .rows = 5})).ok());
}

TEST(MailboxTest, TooManyBytesAreRefusedWithBothNumbers) {
  const Task large = TaskOf({.client = kPolite, .payload_bytes = 4000});
  Mailbox mailbox({.bytes = 5000});
  mailbox.Push(TaskOf({.client = kGreedy, .payload_bytes = 3000}));
  const uint64_t observed = mailbox.bytes() + large.mailbox_bytes();
  EXPECT_EQ(FieldOf(mailbox.Refusal("faces", large)), absl::StrCat("bytes ", observed, " 5000"));
  EXPECT_TRUE(mailbox.Refusal("faces", TaskOf({.client = kPolite, .payload_bytes = 100})).ok());
}

TEST(MailboxTest, AClientMayNotHoldMoreThanItLeavesFree) {
  Mailbox mailbox({.rows = 100});
  uint64_t held = 0;
  while (mailbox.Refusal("m", TaskOf({.client = kGreedy})).ok()) {
    mailbox.Push(TaskOf({.client = kGreedy}));
    ++held;
  }
  EXPECT_EQ(held, 50u);
  EXPECT_EQ(FieldOf(mailbox.Refusal("m", TaskOf({.client = kGreedy}))), "rows 51 50");
  EXPECT_TRUE(mailbox.Refusal("m", TaskOf({.client = kPolite, .rows = 50})).ok());
  mailbox.Push(TaskOf({.client = kPolite, .rows = 20}));
  EXPECT_FALSE(mailbox.Refusal("m", TaskOf({.client = kPolite, .rows = 11})).ok());
  EXPECT_TRUE(mailbox.Refusal("m", TaskOf({.client = kPolite, .rows = 10})).ok());
}

TEST(MailboxTest, ATaskThatIsAloneIsNeverRefused) {
  const Mailbox mailbox({.rows = 10, .bytes = 10});
  EXPECT_TRUE(mailbox.Refusal("m", TaskOf({.rows = 11, .payload_bytes = 100})).ok());
}

// --- parked --------------------------------------------------------------------------------------------------------

TEST(MailboxTest, AParkedTaskCountsAndComesBackWhenItsTurnIsThere) {
  Mailbox mailbox({.rows = 10});
  Task waits = TaskOf({.client = kGreedy, .rows = 4});
  waits.min_turn = 7;
  mailbox.Park(std::move(waits));
  EXPECT_FALSE(mailbox.due());
  EXPECT_EQ(mailbox.rows(), 4u);
  EXPECT_FALSE(mailbox.Refusal("m", TaskOf({.client = kPolite, .rows = 7})).ok());
  mailbox.Unpark(Turn(6));
  EXPECT_FALSE(mailbox.due());
  mailbox.Unpark(Turn(7));
  EXPECT_EQ(RowsOf(mailbox.TakeTurn(Enters), kGreedy), 4u);
  EXPECT_EQ(mailbox.rows() + mailbox.bytes(), 0u);
}

}  // namespace
}  // namespace evoke
