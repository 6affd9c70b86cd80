#include "tests/simulation/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "server/memory/outcome.h"
#include "tests/testing/engine_driver.h"

namespace evoke::testing {
namespace {

template <typename T>
void Append(const std::vector<T>& values, std::string* out) {
  absl::StrAppend(out, values.size(), ":");
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace

void ExpectEqualReply(const std::vector<ModelResult>& expected, const ObserveReply& actual, ObserveForm form,
                      uint32_t key_dim) {
  if (form != ObserveForm::kOutcomes) return ExpectEqualResults(expected, actual, key_dim);
  ASSERT_EQ(actual.rows, expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(OutcomeName(actual.outcomes[i]), ToString(expected[i].outcome));
    EXPECT_EQ(actual.slots[i], expected[i].slot);
  }
}

History::History(Options options) : options_(std::move(options)) {
  states_.push_back({.memory = std::make_shared<ModelMemory>(options_.model)});
  StartFollowing();
}

// --- replies -----------------------------------------------------------------------------------------------

std::string History::Encode(const ObserveReply& r) {
  std::string bytes = absl::StrCat("turn ", r.state.turn.value, " step ", r.state.step.value, " epoch ",
                                   r.state.epoch.value, " rows ", r.rows, " ");
  Append(r.answered, &bytes);
  Append(r.values, &bytes);
  Append(r.confidences, &bytes);
  Append(r.losses, &bytes);
  Append(r.positive_found, &bytes);
  Append(r.negative_found, &bytes);
  Append(r.outcomes, &bytes);
  Append(r.slots, &bytes);
  Append(r.gradients, &bytes);
  Append(r.confidence_gradients, &bytes);
  Append(r.positive_keys, &bytes);
  Append(r.negative_keys, &bytes);
  replies_.try_emplace(bytes, r);
  return bytes;
}

std::string History::Encode(const ClearReply& r) {
  return absl::StrCat("cleared ", r.freed_slots, " turn ", r.state.turn.value, " step ", r.state.step.value,
                      " epoch ", r.state.epoch.value);
}

const ObserveReply* History::Reply(const std::string& bytes) const {
  const auto it = replies_.find(bytes);
  return it == replies_.end() ? nullptr : &it->second;
}

// --- the disk ----------------------------------------------------------------------------------------------

void History::Play(const SessionOp& op, const TurnRecord& record, ModelMemory* memory, uint64_t* epoch) {
  const auto found = bodies_.find(op.digest);
  ASSERT_NE(found, bodies_.end()) << "nobody sent this";
  const MutationBody& body = *found->second;
  ASSERT_EQ(body.session, op.session);
  ASSERT_EQ(body.number, op.number);
  const auto [applied, first] = applied_.try_emplace(op.digest, Applied{record.turn.value, op.reply});
  ASSERT_TRUE(first) << "number " << op.number << " of session " << op.session.ToString()
                     << " is applied twice: in turn " << applied->second.turn << " and now";
  if (body.clear) {
    const uint64_t live = memory->live();
    memory->Clear();
    ++*epoch;
    EXPECT_EQ(op.reply, absl::StrCat("cleared ", live, " turn ", record.turn.value, " step ", memory->step(),
                                     " epoch ", *epoch));
    return;
  }
  const ObserveReply* reply = Reply(op.reply);
  ASSERT_NE(reply, nullptr) << "a reply that no engine made";
  ExpectEqualReply(memory->Train(body.rows), *reply, body.form, options_.spec.key_dim);
  EXPECT_EQ(reply->state.turn, record.turn);
  EXPECT_EQ(reply->state.step.value, memory->step());
  EXPECT_EQ(reply->state.epoch.value, *epoch);
}

void History::Written(const TurnRecord& record) {
  SCOPED_TRACE(::testing::Message() << "turn " << record.turn.value);
  ASSERT_EQ(record.turn.value, turn() + 1);
  EXPECT_EQ(record.previous_chain, now().chain);
  EXPECT_EQ(record.step_before.value, now().memory->step());
  auto memory = std::make_shared<ModelMemory>(*now().memory);
  State next{.sessions = now().sessions, .epoch = now().epoch};
  size_t mutations = 0;
  for (const SessionOp& op : record.sessions) {
    if (op.kind == SessionOp::Kind::kAcknowledge) {
      EXPECT_LE(op.number, claimed_[op.session]) << "drops replies that nobody has acknowledged";
    }
    if (op.kind != SessionOp::Kind::kOutcome) continue;
    ++mutations;
    Play(op, record, memory.get(), &next.epoch);
  }
  EXPECT_GT(mutations, 0u) << "a turn without a mutation";
  if (record.admin == AdminOp::kClear) {
    EXPECT_EQ(mutations, 1u) << "a Clear is alone in its turn";
  }
  EXPECT_EQ(record.epoch.value, next.epoch);
  EXPECT_EQ(record.step_after.value, memory->step());
  EXPECT_EQ(record.live_after, memory->live());
  EXPECT_EQ(record.state_hash.ToString(), memory->StateHash().ToString());
  next.sessions.Apply(record, options_.sessions);
  for (const auto& [id, session] : next.sessions.known) {
    const auto first = session.replies.lower_bound(claimed_[id]);
    EXPECT_LE(std::distance(first, session.replies.end()), options_.sessions.unacknowledged);
  }
  next.memory = std::move(memory);
  next.chain = EncodeTurnRecord(record).chain;
  next.record = std::make_shared<TurnRecord>(record);
  states_.push_back(std::move(next));
  Follow(record);
}

void History::Truncate(uint64_t turn) {
  if (turn == this->turn()) return;
  if (acknowledged_ > turn) {
    EXPECT_EQ(options_.spec.durability, SpecDurability::kWal)
        << "turn " << acknowledged_ << " was acknowledged, and lost";
    ++era_;
    acknowledged_ = turn;
  }
  states_.resize(turn + 1);
  std::erase_if(applied_, [&](const auto& entry) { return entry.second.turn > turn; });
  StartFollowing();
}

// --- records -----------------------------------------------------------------------------------------------

void History::StartFollowing() {
  followers_.clear();
  // Partitions in two halves; one of them where there is only one.
  for (uint32_t half = 0; half < std::min<uint32_t>(2, options_.spec.partitions); ++half) {
    std::vector<Partition> owned;
    for (uint32_t p = half; p < options_.spec.partitions; p += 2) owned.push_back(Partition(p));
    auto state = ShardState::Create(options_.spec, options_.uid, owned);
    ASSERT_TRUE(state.ok()) << state.status();
    followers_.push_back(*std::move(state));
    followers_.back().FinishLoad(Turn(0), Epoch(1));
  }
  for (const State& state : states_) {
    if (state.record) Follow(*state.record);
  }
}

void History::Follow(const TurnRecord& record) {
  Hash128 sum;
  for (size_t half = 0; half < followers_.size(); ++half) {
    ShardState::Changes changes;
    const TurnRecord slice = record.Slice(options_.spec.partitions,
                                          [&](Partition p) { return p.value % followers_.size() == half; });
    EXPECT_TRUE(followers_[half].Apply(slice, &changes).ok());
    for (const auto& [partition, hash] : followers_[half].PartitionHashes()) sum += hash;
  }
  EXPECT_EQ(sum.ToString(), record.state_hash.ToString())
      << "what follows the records comes to another state";
}

void History::CheckRecords(const StoreImage& image) const {
  ASSERT_EQ(image.meta.turn.value, turn());
  EXPECT_EQ(image.meta.chain, now().chain);
  EXPECT_EQ(image.meta.forgotten_turn.value, now().sessions.forgotten_turn);
  Turn next = image.window.first();
  for (const auto& [t, bytes] : image.records) {
    EXPECT_EQ(t, next);
    next = t.Next();
    const absl::StatusOr<DecodedTurn> decoded = DecodeTurnRecord(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->chain, at(t.value).chain);
    EXPECT_TRUE(decoded->record == *at(t.value).record) << "turn " << t.value;
  }
  EXPECT_EQ(next.value, turn() + 1);
}

// --- the judge ---------------------------------------------------------------------------------------------

const History::Applied* History::FindApplied(const Hash128& digest) const {
  const auto it = applied_.find(digest);
  return it == applied_.end() ? nullptr : &it->second;
}

bool History::Justifies(const SessionModel::Verdict& told, const MutationId& mutation, uint64_t from) const {
  if (at(from).sessions.Of(mutation, from, options_.sessions.unacknowledged) == told) return true;
  for (uint64_t t = from + 1; t <= turn(); ++t) {
    for (const SessionModel::Verdict& verdict : SessionModel::Within(
             at(t - 1).sessions, at(t).sessions, mutation, t, options_.sessions.unacknowledged)) {
      if (verdict == told) return true;
    }
  }
  return false;
}

}  // namespace evoke::testing
