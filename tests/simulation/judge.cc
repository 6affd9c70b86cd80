#include "tests/simulation/judge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke::testing {

std::string ReasonOf(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  return detail ? detail->reason : absl::StatusCodeToString(status.code());
}

SlotsCall AllSlots(uint64_t capacity) {
  SlotsCall call{.values = {0, -1}, .limit = 1024, .keys = true, .payloads = true};
  for (uint64_t slot = 0; slot < capacity; ++slot) call.slots.push_back(slot);
  return call;
}

void Judge::Started(size_t turns_in_flight) {
  stopping_ = false;
  turns_in_flight_ = turns_in_flight;
  turns_began_.clear();
  turn_before_ = recovered_turn_ = 0;
}

void Judge::TurnBegan() {
  turns_began_.push_back(world_->now());
  if (turns_began_.size() > turns_in_flight_) turns_began_.pop_front();
  turn_before_ = history_->acknowledged();
}

void Judge::InTime(const Call& call) const {
  ASSERT_FALSE(turns_began_.empty());
  EXPECT_GT(std::min(call.deadline, call.cancelled_at), turns_began_.front()) << "came into a turn too late";
}

// --- mutations ---------------------------------------------------------------------------------------------

void Judge::Mutation(const Call& call, const absl::StatusOr<std::string>& answer, MemoryState state) {
  const MutationId id = call.id();
  SCOPED_TRACE(absl::StrCat("session ", id.session.ToString(), " number ", id.number));
  if (answer.ok()) {
    const History::Applied* applied = history_->FindApplied(id.digest);
    ASSERT_NE(applied, nullptr) << "acknowledged, but not written";
    EXPECT_TRUE(applied->bytes == *answer) << "the reply is not the one that is stored";
    if (disk_->options().fsync) {
      EXPECT_LE(applied->turn, disk_->durable_turn().value) << "acknowledged, but not durable";
    }
    InTime(call);
    history_->Acknowledge(applied->turn);
    return;
  }
  const std::string reason = ReasonOf(answer.status());
  static const std::set<std::string> kOfSessions = {"STEP_OUT_OF_ORDER",    "STEP_TOO_OLD",
                                                    "STEP_REUSED",          "SESSION_UNKNOWN",
                                                    "UNACKNOWLEDGED_LIMIT", "BAD_ARGUMENT"};
  if (kOfSessions.count(reason) > 0) {
    const std::optional<ErrorDetail> detail = DetailOf(answer.status());
    SessionModel::Verdict told{reason, 0};
    if (detail->metadata.count("last_number") > 0)
      told.last_number = std::stoull(detail->metadata.at("last_number"));
    EXPECT_TRUE(history_->Justifies(told, id, call.arrived))
        << "refused with " << reason << ", last number " << told.last_number
        << ", which no durable state justifies";
  } else if (reason == "COMMIT_UNKNOWN") {
    EXPECT_NE(state, MemoryState::kServing) << "a retry could meet the state that failed";
    EXPECT_GT(disk_->failed_commits(), 0u);
  } else if (reason == "READ_ONLY_DISK") {
    EXPECT_EQ(state, MemoryState::kReadOnly);
  } else {
    Refusal(call, answer.status());
  }
}

void Judge::Refusal(const Call& call, const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "STALE_MEMORY") {
    ASSERT_TRUE(call.epoch.has_value());
    bool other = false;
    for (uint64_t t = call.arrived; t <= history_->turn(); ++t) other |= history_->at(t).epoch != *call.epoch;
    EXPECT_TRUE(other) << "the memory was at epoch " << *call.epoch << " all the time";
  } else if (reason == "NOT_APPLIED") {
    EXPECT_LE(call.deadline, world_->now());
  } else if (reason == "BEHIND") {
    if (!stopping_) {
      EXPECT_LE(call.deadline - absl::Milliseconds(20), world_->now());
    }
    EXPECT_GT(call.min_turn, turn_before_) << "waited for a turn that was there";
  } else if (status.code() == absl::StatusCode::kCancelled) {
    EXPECT_LE(call.cancelled_at, world_->now());
  } else if (reason == "MAILBOX_FULL") {
    EXPECT_TRUE(DetailOf(status)->retry_delay.has_value());
  } else {
    // What needs no cause to be seen from here: starting, stopping, and reads that the disk failed. A read
    // shares the fate of its turn.
    static const std::set<std::string> kPassing = {"LOADING",       "DRAINING",    "MEMORY_FAILED",
                                                   "UNAVAILABLE",   "CORRUPT_ROW", "CORRUPT_MEMORY",
                                                   "COMMIT_UNKNOWN"};
    EXPECT_EQ(kPassing.count(reason), 1u) << status;
  }
}

// --- reads -------------------------------------------------------------------------------------------------

const History::State* Judge::Reflected(const Call& call, const StateName& name) {
  EXPECT_LE(name.turn.value, history_->turn()) << "a state that is not written";
  if (name.turn.value > history_->turn()) return nullptr;
  if (disk_->options().fsync) {
    // What was found on a disk that refuses writes is served as it is.
    EXPECT_LE(name.turn.value, std::max(disk_->durable_turn().value, recovered_turn_)) << "a state that is not durable";
  }
  if (call.era == history_->era()) {
    EXPECT_GE(name.turn.value, call.acknowledged) << "an acknowledged turn is not seen";
  }
  EXPECT_GE(name.turn.value, call.min_turn);
  InTime(call);
  const History::State& state = history_->at(name.turn.value);
  EXPECT_EQ(name.epoch.value, state.epoch);
  EXPECT_EQ(name.step.value, state.memory->step());
  if (call.epoch) {
    EXPECT_EQ(*call.epoch, state.epoch);
  }
  return &state;
}

void Judge::Query(const Call& call, const absl::StatusOr<QueryReply>& answer) {
  if (!answer.ok()) return Refusal(call, answer.status());
  const History::State* state = Reflected(call, answer->state);
  if (state == nullptr) return;
  ASSERT_EQ(answer->rows, call.rows.size());
  std::set<uint64_t> seen;
  for (size_t r = 0; r < call.rows.size(); ++r) {
    if (call.rows[r].skip) {
      EXPECT_EQ(answer->answered[r], 0);
      continue;
    }
    const std::vector<ModelNeighbor> expected =
        state->memory->Query(call.rows[r].x, static_cast<int>(call.k));
    ASSERT_EQ(answer->neighbor_count, expected.size());
    for (size_t n = 0; n < expected.size(); ++n) {
      const size_t at = r * answer->neighbor_count + n;
      const ModelNeighbor& e = expected[n];
      const ScoredSlot& got = answer->neighbors[at];
      seen.insert(e.slot);
      EXPECT_EQ(got.slot, e.slot);
      EXPECT_EQ(got.value, e.value);
      EXPECT_EQ(got.similarity, e.similarity);
      EXPECT_EQ(answer->state.step.value - got.written_step, e.age);
      EXPECT_NEAR(answer->weights[at], e.weight, 1e-6);
      EXPECT_TRUE(std::equal(e.key.begin(), e.key.end(), answer->keys.begin() + at * key_dim_));
    }
  }
  if (!call.payloads) return;
  ASSERT_EQ(answer->payloads.size(), seen.size());
  for (const SlotPayloads& got : answer->payloads) {
    std::vector<std::pair<uint64_t, std::string>> payloads;
    for (const Payload& p : got.payloads) payloads.emplace_back(p.step.value, p.bytes);
    EXPECT_EQ(payloads, state->memory->Payloads(got.slot.value));
  }
}

void Judge::Score(const Call& call, const absl::StatusOr<std::string>& answer) {
  if (!answer.ok()) return Refusal(call, answer.status());
  const ObserveReply* reply = history_->Reply(*answer);
  ASSERT_NE(reply, nullptr);
  const History::State* state = Reflected(call, reply->state);
  if (state == nullptr) return;
  ModelMemory memory = *state->memory;
  ExpectEqualReply(memory.Train(call.rows), *reply, ObserveForm::kKeys, key_dim_);
}

void Judge::Slots(const Call& call, const absl::StatusOr<SlotsReply>& answer) {
  if (!answer.ok()) return Refusal(call, answer.status());
  const History::State* state = Reflected(call, answer->state);
  if (state == nullptr) return;
  const std::vector<ModelSlot>& slots = state->memory->slots();
  auto got = answer->slots.begin();
  for (uint64_t i = 0; i < slots.size(); ++i) {
    const ModelSlot& slot = slots[i];
    if (!slot.live) continue;
    ASSERT_NE(got, answer->slots.end());
    EXPECT_EQ(got->content.state.slot, i);
    EXPECT_EQ(got->content.state.value, slot.value);
    EXPECT_EQ(got->content.state.written_step, slot.written_step);
    EXPECT_EQ(got->content.state.hits, slot.hits);
    EXPECT_EQ(got->content.key, slot.key);
    std::vector<std::pair<uint64_t, std::string>> payloads;
    for (const Payload& p : got->payloads) payloads.emplace_back(p.step.value, p.bytes);
    EXPECT_EQ(payloads, state->memory->Payloads(i));
    ++got;
  }
  EXPECT_EQ(got, answer->slots.end());
  for (const SlotsReply::OfValue& of_value : answer->values) {
    std::vector<uint64_t> newest;
    for (const SlotAnswer& a : of_value.slots) newest.push_back(a.content.state.slot);
    EXPECT_EQ(newest, state->memory->SlotsOfValue(of_value.count.value));
  }
}

void Judge::Inspect(const Call& call, const absl::StatusOr<InspectReply>& answer) {
  if (!answer.ok()) return Refusal(call, answer.status());
  const History::State* state = Reflected(call, answer->state);
  if (state == nullptr) return;
  EXPECT_EQ(answer->state_hash.ToString(), state->memory->StateHash().ToString());
  EXPECT_EQ(answer->live_count, state->memory->live());
  EXPECT_EQ(answer->sessions, state->sessions.known.size());
  std::set<int64_t> values;
  for (const ModelSlot& slot : state->memory->slots()) {
    if (slot.live) values.insert(slot.value);
  }
  EXPECT_EQ(answer->distinct_values, values.size());
}

void Judge::Recovered(const MemoryFigures& figures) {
  SCOPED_TRACE("recovered");
  const History::State& now = history_->now();
  ASSERT_EQ(figures.turn.value, history_->turn());
  recovered_turn_ = figures.turn.value;
  EXPECT_GE(figures.turn.value, history_->acknowledged()) << "an acknowledged turn is lost";
  EXPECT_EQ(figures.step.value, now.memory->step());
  EXPECT_EQ(figures.epoch.value, now.epoch);
  EXPECT_EQ(figures.live_count, now.memory->live());
  EXPECT_EQ(figures.state_hash.ToString(), now.memory->StateHash().ToString());
  EXPECT_EQ(figures.sessions, now.sessions.known.size());
}

}  // namespace evoke::testing
