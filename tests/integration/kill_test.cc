// kill -9 in the middle of training: nothing that was acknowledged is lost, and nothing is applied twice.
//
// Several clients train one memory; their library retries by itself. The server is killed at random moments
// and started again. At the end all replies, put in the order of their steps, must be what the oracle answers
// when it is given the same requests in that order without any disturbance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "tests/integration/server_process.h"
#include "tests/testing/model_memory.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kClients = 5;

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

const ModelSpec kModel = {.key_dim = 16,
                          .capacity = 192,
                          .seed = 11,
                          .choose_k = 24,
                          .age_noise = 16,
                          .merge_on_miss = 0.5f,
                          .fold_misses = 0.75f};

client::MemorySpec SpecOf(const ModelSpec& m, client::Durability durability) {
  return {.key_dim = static_cast<uint32_t>(m.key_dim),
          .capacity = m.capacity,
          .seed = m.seed,
          .choose_k = static_cast<uint32_t>(m.choose_k),
          .age_noise = m.age_noise,
          .merge_on_miss = m.merge_on_miss,
          .fold_misses = m.fold_misses,
          .durability = durability};
}

// A mutation that was acknowledged.
struct Acknowledged {
  LogEntry request;
  client::ReplyHeader header;
  std::vector<client::Outcome> outcomes;  // empty for a Clear
  std::vector<uint64_t> slots;
  std::vector<float> losses;  // empty for an Update
  uint64_t steps() const {
    return std::count_if(request.rows.begin(), request.rows.end(),
                         [](const ModelRow& r) { return r.write && !r.skip; });
  }
};

// Sends one entry of a log; nothing is kept of one that does not write.
absl::Status Send(client::Memory& memory, const LogEntry& entry, bool as_update, Acknowledged* reply) {
  if (entry.clear) {
    auto cleared = memory.Clear();
    if (!cleared.ok()) return cleared.status();
    reply->header = cleared->header;
    return absl::OkStatus();
  }
  std::vector<float> x;
  std::vector<int64_t> values;
  std::vector<uint8_t> write, skip;
  std::vector<absl::string_view> payloads;
  for (const ModelRow& row : entry.rows) {
    x.insert(x.end(), row.x.begin(), row.x.end());
    values.push_back(row.value);
    write.push_back(row.write);
    skip.push_back(row.skip);
    payloads.push_back(row.payload);
  }
  const auto embeddings = client::MatrixView::Float32(x, static_cast<uint32_t>(entry.rows.size()));
  if (as_update) {
    auto result = memory.Update(
        {.embeddings = embeddings, .values = values, .write = write, .skip = skip, .payloads = payloads});
    if (!result.ok()) return result.status();
    reply->header = result->header;
    reply->outcomes = result->outcomes;
    reply->slots = result->slots;
    return absl::OkStatus();
  }
  auto result = memory.TrainStep({.embeddings = embeddings,
                                  .values = values,
                                  .write = write,
                                  .skip = skip,
                                  .payloads = payloads,
                                  .form = client::ReturnForm::kGradient});
  if (!result.ok()) return result.status();
  reply->header = result->header;
  reply->outcomes = result->outcomes;
  reply->slots = result->slots;
  reply->losses = result->losses;
  return absl::OkStatus();
}

// Clients that go on until they are told to stop, and what they were told.
class Trainers {
 public:
  Trainers(const ServerProcess& server, uint64_t seed) {
    for (int i = 0; i < kClients; ++i) {
      threads_.emplace_back([this, &server, seed, i] { Train(server, seed + static_cast<uint64_t>(i)); });
    }
  }
  ~Trainers() { Stop(); }

  size_t count() const { return count_.load(); }
  bool failed() const { return failed_.load(); }
  std::vector<Acknowledged> Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return std::move(acknowledged_);
  }

 private:
  void Train(const ServerProcess& server, uint64_t seed) {
    const auto client = server.Connect();
    auto memory = client->OpenMemory("killed");
    if (!memory.ok()) return Fail(memory.status());
    RandomLog log({.seed = seed,
                   .key_dim = kModel.key_dim,
                   .capacity = kModel.capacity,
                   .value_count = 12,
                   .max_rows = 6,
                   .large_percent = 1,
                   .clear_percent = 1});
    RandomBits bits(seed);
    while (!stop_) {
      Acknowledged reply{.request = log.Next()};
      if (absl::Status sent = Send(*memory, reply.request, bits.Percent(25), &reply); !sent.ok())
        return Fail(sent);
      if (!reply.request.clear && reply.steps() == 0) continue;  // it was a read
      std::lock_guard<std::mutex> lock(mu_);
      acknowledged_.push_back(std::move(reply));
      ++count_;
    }
  }
  void Fail(const absl::Status& status) {
    ADD_FAILURE() << status;
    failed_ = true;
  }

  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::atomic<size_t> count_{0};
  std::mutex mu_;
  std::vector<Acknowledged> acknowledged_;  // guarded by mu_
  std::vector<std::thread> threads_;
};

// Steps tile 1 .. N without gaps or overlaps, and the oracle, told the same in that order, answers the same.
ModelMemory ReplayedUndisturbed(std::vector<Acknowledged> all) {
  std::sort(all.begin(), all.end(), [](const Acknowledged& a, const Acknowledged& b) {
    return std::pair(a.header.turn, a.header.step) < std::pair(b.header.turn, b.header.step);
  });
  ModelMemory model(kModel);
  uint64_t last_clear_turn = 0;
  for (const Acknowledged& a : all) {
    SCOPED_TRACE(::testing::Message() << "turn " << a.header.turn << ", step " << a.header.step);
    if (a.request.clear) {
      EXPECT_GT(a.header.turn, last_clear_turn);
      last_clear_turn = a.header.turn;
      model.Clear();
    }
    std::vector<ModelResult> results;
    if (!a.request.clear) results = model.Train(a.request.rows);
    EXPECT_EQ(model.step(), a.header.step) << "a step was lost, or given twice, or the order is another one";
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(static_cast<int>(a.outcomes[i]), static_cast<int>(results[i].outcome) + 1) << "row " << i;
      EXPECT_EQ(a.slots[i], results[i].slot) << "row " << i;
      EXPECT_TRUE(a.losses.empty() || a.losses[i] == results[i].loss) << "row " << i;
    }
    if (::testing::Test::HasFailure()) break;
  }
  return model;
}

class KillTest : public ::testing::TestWithParam<client::Durability> {};

TEST_P(KillTest, NothingAcknowledgedIsLostAndNothingIsAppliedTwice) {
  const uint64_t seed = NumberFrom("EVOKE_TEST_SEED", 1);
  const uint64_t rounds = NumberFrom("EVOKE_KILL_ROUNDS", 10);
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << seed << " EVOKE_KILL_ROUNDS=" << rounds);
  ServerProcess server({"--keep-records-count", "100000000", "--keep-records-bytes", "16GiB"});
  server.Start();
  ASSERT_TRUE(server.Connect()->CreateMemory("killed", SpecOf(kModel, GetParam())).ok());

  RandomBits bits(seed + 1000);
  Trainers trainers(server, seed);
  for (uint64_t round = 0; round < rounds; ++round) {
    const size_t until = trainers.count() + 5 + bits.Below(60);
    ASSERT_TRUE(Eventually([&] { return trainers.count() >= until || trainers.failed(); }))
        << "round " << round;
    // Not to wait for anything, but to end up anywhere between two replies.
    absl::SleepFor(absl::Microseconds(bits.Below(10'000)));
    server.Kill();
    while (bits.Percent(30)) {  // once more, while it recovers
      server.Launch();
      absl::SleepFor(absl::Microseconds(bits.Below(100'000)));
      server.Kill();
    }
    server.Start();
  }
  std::vector<Acknowledged> acknowledged = trainers.Stop();
  ASSERT_FALSE(trainers.failed());
  std::cout << acknowledged.size() << " mutations in " << rounds << " rounds\n";
  const ModelMemory model = ReplayedUndisturbed(std::move(acknowledged));
  ASSERT_FALSE(HasFailure());

  const auto hash = server.Connect()->OpenMemory("killed")->StateHash();
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(hash->state_hash, model.StateHash().ToString());
  EXPECT_EQ(hash->header.step, model.step());
  EXPECT_EQ(hash->live_slots, model.live());
  const Finished evokectl = RunProgram({kEvokectl, "-a", server.address(), "hash", "killed", "-o", "json"});
  ASSERT_EQ(evokectl.exit_code, 0) << evokectl.err;
  const auto json = nlohmann::json::parse(evokectl.out);
  EXPECT_EQ(json["state_hash"], hash->state_hash);
  EXPECT_EQ(json["step"], model.step());

  // Offline, after one more death: the rows, the records and the meta row agree.
  server.Kill();
  for (const char* command : {"check", "replay"}) {
    const Finished inspected =
        RunProgram({kEvokeInspect, "--data-dir", server.data_dir(), command, "killed"});
    EXPECT_EQ(inspected.exit_code, 0) << command << ": " << inspected.err;
    EXPECT_THAT(inspected.out, HasSubstr("hash " + hash->state_hash)) << command;
    EXPECT_THAT(inspected.out, HasSubstr("step " + std::to_string(model.step()))) << command;
  }
}

INSTANTIATE_TEST_SUITE_P(Durabilities, KillTest,
                         ::testing::Values(client::Durability::kFsync, client::Durability::kWal),
                         [](const auto& info) {
                           return info.param == client::Durability::kFsync ? "Fsync" : "Wal";
                         });

}  // namespace
}  // namespace evoke::testing
