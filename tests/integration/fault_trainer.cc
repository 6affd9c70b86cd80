#include "tests/integration/fault_trainer.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace evoke::testing {
namespace {

const ModelSpec kModel = {.key_dim = 16, .capacity = 64, .seed = 11, .choose_k = 8, .age_noise = 8};

}  // namespace

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

FaultTrainer::FaultTrainer(const ServerProcess& server, const std::string& memory, v1::Durability durability,
                           uint64_t seed)
    : memory_(memory),
      client_(server.address()),
      log_({.seed = seed,
            .key_dim = kModel.key_dim,
            .capacity = kModel.capacity,
            .max_rows = 6,
            .large_percent = 0,
            .no_write_percent = 0,
            .skip_percent = 0}),
      model_(std::make_unique<ModelMemory>(kModel)),
      hashes_({model_->StateHash().ToString()}) {
  v1::MemorySpec spec;
  spec.set_key_dim(kModel.key_dim);
  spec.set_capacity(kModel.capacity);
  spec.set_seed(kModel.seed);
  spec.set_choose_k(kModel.choose_k);
  spec.set_age_noise(kModel.age_noise);
  spec.set_durability(durability);
  client_.Create(memory, spec);
}

v1::TrainStepRequest FaultTrainer::NextRequest() {
  if (entries_.size() == acknowledged_) {
    entries_.push_back(log_.Next());
    model_->Train(entries_.back().rows);
    hashes_.push_back(model_->StateHash().ToString());
  }
  v1::TrainStepRequest request;
  request.mutable_memory()->set_name(memory_);
  request.mutable_mutation()->set_session(SessionNamed("trainer"));
  request.mutable_mutation()->set_number(entries_.size());
  request.mutable_mutation()->set_first_unacknowledged(entries_.size());
  std::vector<float> x;
  std::vector<int64_t> values;
  for (const ModelRow& row : entries_.back().rows) {
    x.insert(x.end(), row.x.begin(), row.x.end());
    values.push_back(row.value);
    request.add_payloads(row.payload);
  }
  SetMatrix(x, static_cast<uint32_t>(values.size()), request.mutable_embeddings());
  request.set_values(Raw(values));
  request.set_form(v1::RETURN_FORM_SCORES);
  return request;
}

std::string FaultTrainer::Step() {
  v1::TrainStepResponse response;
  const Fault fault = client_.Call(&v1::MemoryService::Stub::TrainStep, NextRequest(), &response);
  last_message_ = fault.message;
  if (fault.code_and_reason != "OK") return fault.code_and_reason;
  acknowledged_ = entries_.size();
  EXPECT_EQ(response.header().turn(), acknowledged_) << "it was applied more than once, or not at all";
  return "OK";
}

void FaultTrainer::StepUntilOk() {
  std::string answer;
  ASSERT_TRUE(Eventually([&] { return (answer = Step()) == "OK"; })) << answer << ": " << last_message_;
  ExpectStateOfSomeTurnFrom(acknowledged_);
}

std::string FaultTrainer::Query() {
  v1::QueryRequest request;
  v1::QueryResponse response;
  request.mutable_memory()->set_name(memory_);
  SetMatrix(std::vector<float>(kModel.key_dim, 1), 1, request.mutable_embeddings());
  request.set_k(1);
  const Fault fault = client_.Call(&v1::MemoryService::Stub::Query, request, &response);
  last_message_ = fault.message;
  return fault.code_and_reason;
}

void FaultTrainer::ExpectStateOfSomeTurnFrom(uint64_t least) {
  const v1::StateHashResponse found = client_.StateHash(memory_);
  const uint64_t turn = found.header().turn();
  ASSERT_GE(turn, least) << "an acknowledged turn is lost";
  ASSERT_LE(turn, entries_.size()) << "a turn that nobody sent";
  EXPECT_EQ(found.state_hash(), hashes_[turn]) << "turn " << turn << " is not what the oracle says";
  if (turn >= acknowledged_) return;
  acknowledged_ = turn;
  entries_.resize(turn);
  hashes_.resize(turn + 1);
  model_ = std::make_unique<ModelMemory>(kModel);
  for (const LogEntry& entry : entries_) model_->Train(entry.rows);
}

}  // namespace evoke::testing
