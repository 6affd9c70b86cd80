// Invariants 4 and 9 of semantics.md, section 7, with real concurrency: clients on threads of their own, one
// mailbox.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "server/engine/memory_executor.h"
#include "server/similarity/similarity.h"
#include "storage/ram_slot_store.h"
#include "tests/component/invariants.h"

namespace evoke::testing {
namespace {

constexpr int kClients = 4;

class ConcurrencyTest : public InvariantsTestBase {
 protected:
  ConcurrencyTest() : compute_("compute", 3), io_("io", 2), server_spec_(ToServerSpec(spec)) {
    server_spec_.durability = SpecDurability::kMemory;
    const MemoryUid uid = MemoryUid::FromView("concurrent-mem-1");
    const EngineOptions engine = {.shards = 3};
    executor_ = MemoryExecutor::Create(
        {.name = "concurrent",
         .uid = uid,
         .spec = server_spec_,
         .engine = engine,
         .compute = &compute_,
         .io = &io_,
         .clock = &clock_,
         .cores = 3,
         .open_store = [this, uid](bool) -> absl::StatusOr<std::unique_ptr<SlotStore>> {
           return std::make_unique<RamSlotStore>(
               RamSlotStore::Options{.uid = uid,
                                     .payload_history = server_spec_.payload_history,
                                     .spec_digest = SpecDigest(server_spec_)});
         }});
    executor_->Recover();
  }
  ~ConcurrencyTest() override {
    std::promise<void> closed;
    executor_->Close(absl::CancelledError("the test is over"), [&] { closed.set_value(); });
    closed.get_future().wait();
  }

  RowSet Pack(const std::vector<ModelRow>& rows) const {
    RowSet set{.dim = server_spec_.key_dim};
    set.unit.resize(rows.size() * set.dim);
    set.norms.resize(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      set.skip.push_back(rows[i].skip);
      if (rows[i].skip) continue;
      EXPECT_EQ(NormaliseEmbedding(rows[i].x.data(), spec.key_dim, &set.unit[i * set.dim], &set.norms[i]),
                RowCheck::kOk);
    }
    return set;
  }

  // Blocks until answered. Requires: `number` is next in the session of this client.
  ObserveReply Observe(const std::vector<ModelRow>& rows, int client, uint64_t number) {
    ObserveCall call{.rows = Pack(rows)};
    bool writes = false;
    for (const ModelRow& row : rows) {
      call.values.push_back(row.value);
      call.write.push_back(row.write && !row.skip);
      writes |= call.write.back() != 0;
    }
    if (writes) {
      call.mutation = MutationId{.number = number, .first_unacknowledged = number, .digest = {.low = number}};
      call.mutation->session.bytes[0] = static_cast<uint8_t>(client + 1);
    }
    ObserveReply made;
    call.encode = [&made](const ObserveReply& reply) {
      made = reply;
      return std::string("reply");
    };
    std::promise<absl::Status> done;
    call.done = [&done](absl::StatusOr<std::string> reply) { done.set_value(reply.status()); };
    executor_->Submit({.call = std::move(call)});
    const absl::Status status = done.get_future().get();
    EXPECT_TRUE(status.ok()) << status;
    return made;
  }

  // Submits a read and blocks until it is answered.
  template <typename Reply, typename Call>
  Reply Read(Call call) {
    std::promise<absl::StatusOr<Reply>> done;
    call.done = [&done](absl::StatusOr<Reply> reply) { done.set_value(std::move(reply)); };
    executor_->Submit({.call = std::move(call)});
    absl::StatusOr<Reply> reply = done.get_future().get();
    EXPECT_TRUE(reply.ok()) << reply.status();
    return *std::move(reply);
  }
  QueryReply Query(const std::vector<ModelRow>& rows) {
    return Read<QueryReply>(
        QueryCall{.rows = Pack(rows), .k = 5, .inverse_temperature = 40, .neighbors = true, .keys = true});
  }
  InspectReply Inspect() { return Read<InspectReply>(InspectCall()); }

  static bool Writes(const std::vector<ModelRow>& rows) {
    return std::any_of(rows.begin(), rows.end(), [](const ModelRow& r) { return r.write && !r.skip; });
  }

  RealClock clock_;
  ThreadPool compute_;
  ThreadPool io_;
  MemorySpec server_spec_;
  std::shared_ptr<MemoryExecutor> executor_;
};

INSTANTIATE_TEST_SUITE_P(Memories, ConcurrencyTest, ::testing::ValuesIn(kMemories),
                         [](const auto& info) { return info.param.name; });

TEST_P(ConcurrencyTest, NoInterleavingOfWritersLetsAHitChangeAValue) {
  struct Answered {
    std::vector<ModelRow> rows;
    ObserveReply reply;
  };
  std::vector<Answered> answered[kClients];
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      RandomLogOptions options = LogOptions();
      options.seed = Seed() + static_cast<uint64_t>(c);
      options.value_count = 3;
      RandomLog log(options);
      uint64_t number = 0;
      for (int i = 0; i < kEntries; ++i) {
        std::vector<ModelRow> rows = log.Next().rows;
        const bool writes = Writes(rows);
        ObserveReply reply = Observe(rows, c, number + 1);
        if (!writes) continue;
        ++number;
        answered[c].push_back({std::move(rows), std::move(reply)});
      }
    });
  }
  for (std::thread& client : clients) client.join();

  // In the order of their steps they are one history, in which no reinforcement meets another value.
  std::map<uint64_t, const Answered*> by_step;
  for (const auto& of_client : answered) {
    for (const Answered& a : of_client) by_step[a.reply.state.step.value] = &a;
  }
  Shadow shadow;
  for (const auto& [step, a] : by_step) {
    shadow.Apply(a->rows, a->reply);
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(shadow.step, step) << "steps have a gap or overlap";
  }
  SlotsCall all{.limit = 1};
  for (uint64_t slot = 0; slot < spec.capacity; ++slot) all.slots.push_back(slot);
  const SlotsReply slots = Read<SlotsReply>(std::move(all));
  EXPECT_EQ(slots.slots.size(), shadow.live.size());
  for (const SlotAnswer& answer : slots.slots) {
    const SlotState& s = answer.content.state;
    EXPECT_EQ((Shadow::Slot{s.value, s.written_step, s.hits}), shadow.live[s.slot]);
  }
}

TEST_P(ConcurrencyTest, ReadersAtAnyConcurrencyLeaveTheStateAndGetEqualAnswers) {
  RandomLog log(LogOptions());
  for (uint64_t number = 1, i = 0; i < 30; ++i) {
    const std::vector<ModelRow> rows = log.Next().rows;
    Observe(rows, 0, number);
    number += Writes(rows) ? 1 : 0;
  }
  const InspectReply before = Inspect();
  std::vector<std::vector<ModelRow>> questions;
  std::vector<QueryReply> expected;
  for (int i = 0; i < 20; ++i) {
    questions.push_back(log.Next().rows);
    for (ModelRow& row : questions.back()) row.write = false;
    expected.push_back(Query(questions.back()));
  }
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < kEntries; ++i) {
        const size_t at = static_cast<size_t>(i + 7 * c) % questions.size();
        const QueryReply reply = Query(questions[at]);
        EXPECT_EQ(reply.values, expected[at].values);
        EXPECT_EQ(reply.confidences, expected[at].confidences);
        EXPECT_EQ(reply.weights, expected[at].weights);
        EXPECT_EQ(reply.keys, expected[at].keys);
        Observe(questions[at], c, 0);  // no row writes
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const InspectReply after = Inspect();
  EXPECT_EQ(after.state_hash, before.state_hash);
  EXPECT_EQ(after.state.turn, before.state.turn);
  EXPECT_EQ(after.state.step, before.state.step);
}

}  // namespace
}  // namespace evoke::testing
