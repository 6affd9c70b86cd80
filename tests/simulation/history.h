// The oracle of a simulation: what must be so after every turn that was written, said by ModelMemory and
// SessionModel.
//
// A turn that the disk has written is played again from the requests it names; its record, and every reply in
// it, must be what the oracles say, to the bit. What is kept after a crash is a prefix of this history:
// Truncate says which.
//
// An era ends when turns that somebody was told of are lost, which only a memory that does not sync (WAL) may
// do, and only when the power fails; what is known from an earlier era is void. Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/shard_state.h"
#include "server/memory/memory_spec.h"
#include "tests/simulation/call.h"
#include "tests/simulation/session_model.h"
#include "tests/simulation/store_image.h"
#include "tests/testing/model_memory.h"

namespace evoke::testing {

class History {
 public:
  struct Options {
    ModelSpec model;
    MemorySpec spec;
    MemoryUid uid;
    SessionModel::Limits sessions;
  };
  // The state after a turn; `record` led to it (null at turn 0).
  struct State {
    std::shared_ptr<const ModelMemory> memory;
    SessionModel sessions;
    uint64_t epoch = 1;
    Hash128 chain;
    std::shared_ptr<const TurnRecord> record;
  };
  struct Applied {
    uint64_t turn = 0;
    std::string bytes;
  };
  explicit History(Options options);

  // Before it is sent for the first time.
  void Intend(std::shared_ptr<const MutationBody> body) { bodies_[body->digest] = std::move(body); }
  // A call came that says which replies its client has.
  void Claim(const MutationId& id) {
    claimed_[id.session] = std::max(claimed_[id.session], id.first_unacknowledged);
  }
  // As ObserveCall::encode: the bytes hold every bit of the reply, and the reply is remembered by them.
  std::string Encode(const ObserveReply& reply);
  std::string Encode(const ClearReply& reply);
  // Null when no engine made these bytes.
  const ObserveReply* Reply(const std::string& bytes) const;

  // --- the disk ---
  void Written(const TurnRecord& record);
  // All that the disk still has is up to `turn`.
  void Truncate(uint64_t turn);

  // --- the judge ---
  uint64_t turn() const { return states_.size() - 1; }
  const State& at(uint64_t turn) const { return states_[turn]; }
  const State& now() const { return states_.back(); }
  uint64_t era() const { return era_; }
  // Null when the mutation of this digest was not applied.
  const Applied* FindApplied(const Hash128& digest) const;
  // Whether a mutation that came when `from` was the last turn can rightly be told this now.
  bool Justifies(const SessionModel::Verdict& told, const MutationId& mutation, uint64_t from) const;
  // Somebody was told of this turn.
  void Acknowledge(uint64_t turn) { acknowledged_ = std::max(acknowledged_, turn); }
  uint64_t acknowledged() const { return acknowledged_; }
  // The records that a store keeps are the last ones of the history, to the bit.
  void CheckRecords(const StoreImage& image) const;

 private:
  void Play(const SessionOp& op, const TurnRecord& record, ModelMemory* memory, uint64_t* epoch);
  void Follow(const TurnRecord& record);
  void StartFollowing();

  const Options options_;
  std::map<Hash128, std::shared_ptr<const MutationBody>> bodies_;
  std::map<std::string, ObserveReply> replies_;
  std::map<SessionId, uint64_t> claimed_;
  std::vector<State> states_;  // by turn
  std::map<Hash128, Applied> applied_;
  std::vector<ShardState> followers_;  // shards that see nothing but slices of the records
  uint64_t acknowledged_ = 0;
  uint64_t era_ = 0;
};

// What the engine tells of labelled rows must be what the oracle tells.
void ExpectEqualReply(const std::vector<ModelResult>& expected, const ObserveReply& actual, ObserveForm form,
                      uint32_t key_dim);

}  // namespace evoke::testing
