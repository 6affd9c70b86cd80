// A pipelined trainer before a server that is killed in mid-stream: nothing is lost, nothing applied twice,
// and the order is that of Submit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "evoke/train_pipeline.h"
#include "tests/integration/server_process.h"
#include "tests/testing/model_memory.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

using client::Future;
using client::TrainStepResult;

const ModelSpec kModel = {.key_dim = 16, .capacity = 192, .seed = 11, .choose_k = 24, .age_noise = 16};

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

// A step as it was submitted, and what became of it.
struct Submitted {
  std::vector<ModelRow> rows;
  bool poisoned = false;  // its first row has a NaN: the server must refuse it
  Future<TrainStepResult> result;
};

// Submits the batches of a log through one pipeline until it is told to stop.
class PipelinedTrainer {
 public:
  PipelinedTrainer(const ServerProcess& server, uint64_t seed) : client_(server.Connect()) {
    auto pipeline = client::TrainPipeline::Create(*client_->OpenMemory("streamed"));
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    pipeline_ = *std::move(pipeline);
    thread_ = std::thread([this, seed] { Train(seed); });
  }
  ~PipelinedTrainer() {
    if (thread_.joinable()) Stop();
  }

  size_t count() const { return count_.load(); }
  // Everything that was submitted, answered.
  std::vector<Submitted> Stop() {
    stop_ = true;
    thread_.join();
    EXPECT_TRUE(pipeline_->Drain().ok());
    return std::move(steps_);
  }

 private:
  void Train(uint64_t seed) {
    RandomLog log({.seed = seed, .key_dim = kModel.key_dim, .capacity = kModel.capacity, .max_rows = 6});
    RandomBits bits(seed);
    while (!stop_) {
      Submitted step{.rows = log.Next().rows};
      const auto writes = [](const ModelRow& row) { return row.write && !row.skip; };
      if (!writes(step.rows[0])) continue;
      if (bits.Percent(5)) {
        step.poisoned = true;
        step.rows[0].x[0] = std::numeric_limits<float>::quiet_NaN();
      }
      step.result = Submit(step.rows);
      steps_.push_back(std::move(step));
      ++count_;
    }
  }

  Future<TrainStepResult> Submit(const std::vector<ModelRow>& rows) {
    std::vector<float> x;
    std::vector<int64_t> values;
    std::vector<uint8_t> write, skip;
    std::vector<absl::string_view> payloads;
    for (const ModelRow& row : rows) {
      x.insert(x.end(), row.x.begin(), row.x.end());
      values.push_back(row.value);
      write.push_back(row.write);
      skip.push_back(row.skip);
      payloads.push_back(row.payload);
    }
    return pipeline_->Submit(
        {.embeddings = client::MatrixView::Float32(x, static_cast<uint32_t>(rows.size())),
         .values = values,
         .write = write,
         .skip = skip,
         .payloads = payloads});
  }

  const std::unique_ptr<client::Client> client_;
  std::unique_ptr<client::TrainPipeline> pipeline_;
  std::atomic<bool> stop_{false};
  std::atomic<size_t> count_{0};
  std::vector<Submitted> steps_;  // of thread_ while it runs
  std::thread thread_;
};

// Told the same in the order of Submit, the oracle answers the same.
ModelMemory ReplayedUndisturbed(std::vector<Submitted>& steps) {
  ModelMemory model(kModel);
  for (size_t n = 0; n < steps.size() && !::testing::Test::HasFailure(); ++n) {
    SCOPED_TRACE(::testing::Message() << "step " << n << " of " << steps.size());
    const absl::StatusOr<TrainStepResult> told = steps[n].result.get();
    if (steps[n].poisoned) {
      EXPECT_EQ(client::GetErrorDetails(told.status()).reason, "NON_FINITE") << told.status();
      continue;
    }
    EXPECT_TRUE(told.ok()) << told.status();
    if (!told.ok()) break;
    const std::vector<ModelResult> results = model.Train(steps[n].rows);
    EXPECT_EQ(model.step(), told->header.step)
        << "a step was lost, or given twice, or the order is another one";
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(static_cast<int>(told->outcomes[i]), static_cast<int>(results[i].outcome) + 1) << "row " << i;
      EXPECT_EQ(told->slots[i], results[i].slot) << "row " << i;
      EXPECT_EQ(told->losses[i], results[i].loss) << "row " << i;
    }
  }
  return model;
}

class PipelineKillTest : public ::testing::TestWithParam<client::Durability> {};

TEST_P(PipelineKillTest, KilledInMidStreamNothingIsLostAndNothingIsAppliedTwice) {
  const uint64_t seed = NumberFrom("EVOKE_TEST_SEED", 1);
  const uint64_t rounds = NumberFrom("EVOKE_KILL_ROUNDS", 10);
  SCOPED_TRACE(::testing::Message() << "EVOKE_TEST_SEED=" << seed << " EVOKE_KILL_ROUNDS=" << rounds);
  ServerProcess server;
  server.Start();
  ASSERT_TRUE(server.Connect()
                  ->CreateMemory("streamed", {.key_dim = static_cast<uint32_t>(kModel.key_dim),
                                              .capacity = kModel.capacity,
                                              .seed = kModel.seed,
                                              .choose_k = static_cast<uint32_t>(kModel.choose_k),
                                              .age_noise = kModel.age_noise,
                                              .durability = GetParam()})
                  .ok());

  RandomBits bits(seed + 1000);
  PipelinedTrainer trainer(server, seed);
  for (uint64_t round = 0; round < rounds; ++round) {
    const size_t until = trainer.count() + 20 + bits.Below(100);
    ASSERT_TRUE(Eventually([&] { return trainer.count() >= until; })) << "round " << round;
    // Not to wait for anything, but to end up anywhere between two replies.
    absl::SleepFor(absl::Microseconds(bits.Below(10'000)));
    server.Kill();
    server.Start();
  }
  std::vector<Submitted> steps = trainer.Stop();
  std::cout << steps.size() << " steps in " << rounds << " rounds\n";
  const ModelMemory model = ReplayedUndisturbed(steps);
  ASSERT_FALSE(HasFailure());
  const auto hash = server.Connect()->OpenMemory("streamed")->StateHash();
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(hash->state_hash, model.StateHash().ToString());
  EXPECT_EQ(hash->header.step, model.step());
}

INSTANTIATE_TEST_SUITE_P(Durabilities, PipelineKillTest,
                         ::testing::Values(client::Durability::kFsync, client::Durability::kWal),
                         [](const auto& info) {
                           return info.param == client::Durability::kFsync ? "Fsync" : "Wal";
                         });

}  // namespace
}  // namespace evoke::testing
