// Random but legal turns of one memory, and the state that they must lead to, kept in the plainest way.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "storage/slot_store.h"
#include "storage/turn_record.h"

namespace evoke::testing {

inline MemoryUid UidOf(uint8_t byte) {
  MemoryUid uid;
  uid.bytes.fill(byte);
  return uid;
}

inline SessionId SessionOf(uint8_t byte) {
  SessionId id;
  id.bytes.fill(byte);
  return id;
}

struct Geometry {
  uint32_t key_dim = 3;
  uint32_t partitions = 4;
  uint32_t payload_history = 4;
  uint64_t capacity = 24;
};

// What a store must answer, whatever it is made of.
struct ModelState {
  struct Slot {
    int64_t value = 0;
    Step written_step;
    uint32_t hits = 0;
    std::vector<float> key;
    std::vector<Payload> payloads;  // one an observation since the value was written; may be empty
    friend bool operator==(const Slot&, const Slot&) = default;
  };
  struct Session {
    SessionRow row;
    std::map<uint64_t, std::string> replies;
  };
  MetaRow meta;
  std::map<uint64_t, Slot> slots;
  std::map<SessionId, Session> sessions;

  std::vector<Payload> KeptPayloads(uint64_t slot, uint32_t history) const {
    const std::vector<Payload>& all = slots.at(slot).payloads;
    std::vector<Payload> kept;
    for (size_t i = 0; i < all.size(); ++i) {
      const bool keep = history > 0 && (i == 0 || all.size() - i <= history - 1);
      if (keep && !all[i].bytes.empty()) kept.push_back(all[i]);
    }
    return kept;
  }
};

class TurnBuilder {
 public:
  explicit TurnBuilder(const Geometry& geometry = {}, uint64_t seed = 1)
      : geometry_(geometry), random_(seed) {
    model_.meta.uid = UidOf(7);
    model_.meta.spec_digest = {.low = 11, .high = 12};
  }

  // The next turn: a few slots written, session 1 answered; now and then a session forgotten, or a slot
  // freed.
  TurnRecord Next() {
    TurnRecord record = Begin();
    std::map<uint64_t, SlotWrite> writes;
    const uint64_t count = 1 + Draw(4);
    Step step = model_.meta.step;
    for (uint64_t i = 0; i < count; ++i) {
      step = step.Next();
      Observe(Draw(geometry_.capacity), step, &writes);
    }
    std::map<Step, SlotWrite> by_step;
    for (auto& [slot, write] : writes) by_step[write.written_step] = write;
    for (auto& [written, write] : by_step) record.writes.push_back(write);
    if (Draw(8) == 0 && !model_.slots.empty()) {
      const uint64_t slot = model_.slots.rbegin()->first;
      if (!writes.contains(slot)) {
        record.freed.push_back(SlotId(slot));
        model_.slots.erase(slot);
      }
    }
    record.step_after = step;
    Answer(SessionOf(static_cast<uint8_t>(1 + Draw(3))), &record);
    return Finish(std::move(record));
  }

  TurnRecord Clear() {
    TurnRecord record = Begin();
    record.admin = AdminOp::kClear;
    record.epoch = record.epoch.Next();
    model_.slots.clear();
    Answer(SessionOf(1), &record);
    return Finish(std::move(record));
  }

  // A turn that writes one slot once: a new value (`hit` false) or a hit.
  TurnRecord One(uint64_t slot, bool hit, std::string payload) {
    TurnRecord record = Begin();
    record.step_after = record.step_before.Next();
    std::map<uint64_t, SlotWrite> writes;
    Write(slot, hit, record.step_after, std::move(payload), &writes);
    record.writes.push_back(writes.at(slot));
    return Finish(std::move(record));
  }

  TurnRecord WithSessions(std::vector<SessionOp> ops) {
    TurnRecord record = Begin();
    record.sessions = std::move(ops);
    return Finish(std::move(record));
  }

  const ModelState& model() const { return model_; }
  const Geometry& geometry() const { return geometry_; }
  uint64_t Draw(uint64_t below) { return random_() % below; }

 private:
  TurnRecord Begin() const {
    return {.uid = model_.meta.uid,
            .epoch = model_.meta.epoch,
            .term = model_.meta.term,
            .turn = model_.meta.turn.Next(),
            .previous_chain = model_.meta.chain,
            .step_before = model_.meta.step,
            .step_after = model_.meta.step};
  }

  void Observe(uint64_t slot, Step step, std::map<uint64_t, SlotWrite>* writes) {
    const bool hit = model_.slots.contains(slot) && Draw(4) != 0;
    Write(slot, hit, step, Draw(3) == 0 ? "" : std::string(1 + Draw(40), static_cast<char>('a' + Draw(26))),
          writes);
  }

  void Write(uint64_t slot, bool hit, Step step, std::string payload, std::map<uint64_t, SlotWrite>* writes) {
    ModelState::Slot& s = model_.slots[slot];
    SlotWrite& write = (*writes)[slot];
    if (!hit) {
      s = {.value = static_cast<int64_t>(random_())};
      write = {};
    } else {
      ++s.hits;
    }
    s.written_step = step;
    s.key.clear();
    for (uint32_t i = 0; i < geometry_.key_dim; ++i) s.key.push_back(static_cast<float>(random_()) * 1e-20f);
    s.payloads.push_back({.step = step, .bytes = payload});
    write.slot = SlotId(slot);
    write.kind = hit ? WriteKind::kHit : WriteKind::kEvict;
    write.value = s.value;
    write.written_step = step;
    write.hits = s.hits;
    write.key = s.key;
    const uint32_t history = geometry_.payload_history;
    if (history == 0 || (hit && history == 1)) return;
    const uint16_t place = hit ? static_cast<uint16_t>(1 + (s.hits - 1) % (history - 1)) : 0;
    std::erase_if(write.payloads, [&](const PayloadRow& row) { return row.place == place; });
    write.payloads.push_back({.place = place, .step = step, .bytes = payload});
  }

  void Answer(const SessionId& id, TurnRecord* record) {
    if (model_.sessions.size() == 3 && Draw(10) == 0) {
      const SessionId victim = SessionOf(static_cast<uint8_t>(1 + Draw(3)));
      model_.meta.forgotten_turn =
          std::max(model_.meta.forgotten_turn, model_.sessions.at(victim).row.last_turn);
      model_.sessions.erase(victim);
      record->sessions.push_back({.kind = SessionOp::Kind::kForget, .session = victim});
    }
    if (!model_.sessions.contains(id)) {
      model_.sessions[id].row = {.id = id};
      record->sessions.push_back({.kind = SessionOp::Kind::kOpen, .session = id});
    }
    ModelState::Session& session = model_.sessions.at(id);
    if (session.row.replies.size() > 2) {
      const uint64_t up_to = session.row.last_number;  // all but the last are acknowledged
      record->sessions.push_back({.kind = SessionOp::Kind::kAcknowledge, .session = id, .number = up_to});
      std::erase_if(session.row.replies, [&](const auto& r) { return r.number < up_to; });
      std::erase_if(session.replies, [&](const auto& r) { return r.first < up_to; });
    }
    SessionOp op{.session = id,
                 .number = ++session.row.last_number,
                 .digest = {.low = random_(), .high = random_()},
                 .reply = std::string(Draw(30), 'r')};
    session.row.last_turn = record->turn;
    session.row.replies.push_back({op.number, op.digest, op.reply.size()});
    session.replies[op.number] = op.reply;
    record->sessions.push_back(std::move(op));
  }

  TurnRecord Finish(TurnRecord record) {
    record.state_hash = {.low = random_(), .high = random_()};
    record.live_after = model_.slots.size();
    model_.meta.epoch = record.epoch;
    model_.meta.turn = record.turn;
    model_.meta.step = record.step_after;
    model_.meta.chain = EncodeTurnRecord(record).chain;
    model_.meta.state_hash = record.state_hash;
    model_.meta.live_count = record.live_after;
    return record;
  }

  const Geometry geometry_;
  std::mt19937_64 random_;
  ModelState model_;
};

inline absl::Status CommitOne(SlotStore* store, const TurnRecord& record) {
  const TurnRecord* const records[] = {&record};
  return store->Commit(records);
}

}  // namespace evoke::testing
