#include "tests/simulation/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke::testing {
namespace {

bool Writes(const std::vector<ModelRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const ModelRow& row) { return row.write && !row.skip; });
}

}  // namespace

Trainer::Trainer(Options options, VirtualWorld* world, SimulatedServer* server, History* history)
    : options_(std::move(options)), world_(world), server_(server), history_(history), log_(options_.log) {}

void Trainer::Begin() {
  OpenSession();
  world_->After(world_->RandomDelay(options_.think), [this] { Act(); });
}

void Trainer::Finish() {
  finishing_ = true;
  for (const PendingPtr& pending : pending_) AttemptLater(pending, absl::Seconds(1));
}

std::string Trainer::Pending() const {
  std::string all;
  for (const PendingPtr& p : pending_)
    absl::StrAppend(&all, p->body->session.ToString(), " ", p->body->number, "; ");
  return all;
}

// --- what it does ------------------------------------------------------------------------------------------

void Trainer::Act() {
  if (finishing_) return;
  if (era_ != history_->era()) {  // it is told in some way that the past was lost
    era_ = history_->era();
    seen_turn_ = std::min(seen_turn_, history_->turn());
    answers_.clear();
  }
  if (bits().Percent(options_.new_session_percent)) OpenSession();
  if (bits().Percent(options_.read_percent)) {
    Read();
  } else if (bits().Percent(options_.probe_percent)) {
    Probe();
  } else if (pending_.size() < options_.window) {
    NewMutation();
  }
  world_->After(world_->RandomDelay(options_.think), [this] { Act(); });
}

void Trainer::OpenSession() {
  ++sessions_opened_;
  std::memcpy(session_.bytes.data(), &options_.id, 8);
  std::memcpy(session_.bytes.data() + 8, &sessions_opened_, 8);
  opened_after_ = seen_turn_;
  next_number_ = 1;
  pending_.clear();  // what was under way may be applied or not; nobody will ask
  must_acknowledge_ = false;
}

std::shared_ptr<MutationBody> Trainer::MakeBody(uint64_t number) {
  auto body = std::make_shared<MutationBody>();
  body->session = session_;
  body->number = number;
  body->opened_after = opened_after_;
  body->digest = {.low = ++bodies_made_, .high = options_.id};
  body->clear = bits().Percent(options_.clear_percent);
  while (!body->clear && !Writes(body->rows)) body->rows = log_.Next().rows;
  body->form = static_cast<ObserveForm>(bits().Below(4));
  history_->Intend(body);
  return body;
}

void Trainer::NewMutation() {
  auto pending = std::make_shared<Mutation>();
  pending->body = MakeBody(next_number_++);
  pending_.push_back(pending);
  options_.stream ? AttemptOnStream(pending) : Attempt(pending);
}

// One message outside the contract, or a very late one; never sent again.
void Trainer::Probe() {
  auto call = std::make_shared<Call>();
  const uint64_t kind = bits().Below(5);
  std::shared_ptr<MutationBody> body;
  if (kind == 0) {
    body = MakeBody(next_number_ + 1 + bits().Below(3));  // a gap
  } else if (kind == 1 && next_number_ > 1) {
    body = MakeBody(1 + bits().Below(next_number_ - 1));  // another body under a number in use
  } else if (kind == 2) {
    body = MakeBody(2 + bits().Below(5));
    body->session.bytes[15] = 0xff;  // nobody's
  } else if (kind == 3) {
    body = MakeBody(1);
    body->session.bytes[15] = static_cast<uint8_t>(0x80 + bits().Below(0x70));  // a session of one number
    body->opened_after = bits().Percent(50) ? seen_turn_ + bits().Below(3) : bits().Below(seen_turn_ + 1);
  } else if (!old_bodies_.empty()) {
    call->mutation = old_bodies_[bits().Below(old_bodies_.size())];
  }
  if (body) call->mutation = std::move(body);
  if (!call->mutation) return;
  call->first_unacknowledged = bits().Percent(50) ? call->mutation->number : 0;
  Send(call, [this, call](const Answer& answer) { Remember(*call->mutation, answer); });
}

void Trainer::Read() {
  auto call = std::make_shared<Call>();
  call->read = static_cast<Call::Read>(bits().Below(4));
  call->k = static_cast<uint32_t>(1 + bits().Below(12));
  call->payloads = bits().Percent(50);
  if (call->read == Call::Read::kQuery || call->read == Call::Read::kScore) {
    call->rows = log_.Next().rows;
    if (call->rows.size() > 4) call->rows.resize(4);
    for (ModelRow& row : call->rows) row.write = false;
  }
  AddConditions(call.get());
  ++counts_.reads;
  Send(call, [this](const Answer& answer) {
    if (answer.era != history_->era() || !answer.status.ok()) return;
    seen_turn_ = std::max(seen_turn_, answer.turn);
    seen_epoch_ = std::max(seen_epoch_, answer.epoch);
  });
}

// --- attempts ----------------------------------------------------------------------------------------------

void Trainer::AddConditions(Call* call) {
  if (bits().Percent(10)) call->epoch = seen_epoch_;
  if (bits().Percent(20)) call->deadline = world_->now() + world_->RandomDelay(absl::Seconds(1));
  if (bits().Percent(10)) {
    call->min_turn = seen_turn_ + bits().Below(3);
    call->deadline = std::min(call->deadline, world_->now() + absl::Seconds(2));
  }
}

std::shared_ptr<Call> Trainer::CallOf(const PendingPtr& pending) {
  if (++pending->attempt > 1) ++counts_.retries;
  auto call = std::make_shared<Call>();
  call->mutation = pending->body;
  // All below the first pending one were answered.
  const bool acknowledge = options_.acknowledges || must_acknowledge_;
  call->first_unacknowledged = acknowledge ? pending_.front()->body->number : 0;
  return call;
}

void Trainer::Attempt(const PendingPtr& pending) {
  const std::shared_ptr<Call> call = CallOf(pending);
  if (!finishing_) {
    AddConditions(call.get());
    if (bits().Percent(2)) call->cancelled_at = world_->now() + world_->RandomDelay(absl::Milliseconds(100));
  }
  Send(call, [this, pending](const Answer& answer) { Answered(pending, answer); });
  const uint64_t attempt = pending->attempt;
  world_->After(options_.patience + world_->RandomDelay(options_.patience), [this, pending, attempt] {
    if (IsPending(pending) && pending->attempt == attempt) Attempt(pending);
  });
}

void Trainer::AttemptLater(const PendingPtr& pending, absl::Duration most) {
  world_->After(world_->RandomDelay(most), [this, pending, attempt = pending->attempt] {
    if (IsPending(pending) && pending->attempt == attempt) Attempt(pending);
  });
}

// --- the stream --------------------------------------------------------------------------------------------

void Trainer::AttemptOnStream(const PendingPtr& pending) {
  if (stream_ == nullptr) stream_ = std::make_shared<Stream>();
  const StreamPtr stream = stream_;
  const std::shared_ptr<Call> call = CallOf(pending);
  call->era = history_->era();
  call->acknowledged = history_->acknowledged();
  const uint64_t index = stream->answered + stream->sent.size();
  stream->sent.push_back({pending, std::nullopt});
  const absl::Time soon = world_->now() + world_->RandomDelay(absl::Milliseconds(20));
  stream->last = std::max(soon, stream->last + absl::Nanoseconds(1));
  world_->At(stream->last, [this, stream, call, index] {
    if (stream->broken) return;
    if (!finishing_ && bits().Percent(options_.lost_percent)) return Break(stream);
    server_->Deliver(call, [this, stream, index](Answer answer) {
      world_->After(world_->RandomDelay(absl::Milliseconds(20)), [this, stream, index, answer = std::move(answer)] {
        TakeFromStream(stream, index, answer);
      });
    });
  });
  const uint64_t attempt = pending->attempt;
  world_->After(options_.patience * 2 + world_->RandomDelay(options_.patience), [this, stream, pending, attempt] {
    if (IsPending(pending) && pending->attempt == attempt) Break(stream);
  });
}

void Trainer::TakeFromStream(const StreamPtr& stream, uint64_t index, Answer answer) {
  if (stream->broken) return;
  stream->sent[index - stream->answered].second = std::move(answer);
  while (!stream->sent.empty() && stream->sent.front().second) {
    const auto [pending, given] = std::move(stream->sent.front());
    stream->sent.pop_front();
    ++stream->answered;
    Answered(pending, *given);
    if (!given->status.ok()) return Break(stream);
  }
}

// What was on it may be applied or not: all of it is sent again, with the same numbers.
void Trainer::Break(const StreamPtr& stream) {
  if (std::exchange(stream->broken, true)) return;
  if (stream == stream_) stream_ = nullptr;
  world_->After(world_->RandomDelay(absl::Milliseconds(50)), [this, stream] {
    for (const auto& [pending, answer] : stream->sent) {
      if (IsPending(pending)) AttemptOnStream(pending);
    }
  });
}

// --- the network -------------------------------------------------------------------------------------------

void Trainer::Send(const std::shared_ptr<Call>& call, const SimulatedServer::Reply& reply) {
  call->era = history_->era();
  call->acknowledged = history_->acknowledged();
  const auto back = [this, reply](Answer answer) {
    if (!finishing_ && bits().Percent(options_.lost_percent)) return;
    world_->After(world_->RandomDelay(absl::Milliseconds(20)),
                  [reply, answer = std::move(answer)] { reply(answer); });
  };
  const auto deliver = [this, back](const std::shared_ptr<Call>& message, absl::Duration most) {
    world_->After(world_->RandomDelay(most), [this, back, message] { server_->Deliver(message, back); });
  };
  if (call->mutation && !finishing_ && bits().Percent(options_.repeated_percent)) {
    // The copy comes at about the same time, or when everybody has forgotten it.
    deliver(std::make_shared<Call>(*call), bits().Percent(50) ? absl::Milliseconds(20) : absl::Seconds(60));
  }
  if (!finishing_ && bits().Percent(options_.lost_percent)) return;
  deliver(call, absl::Milliseconds(20));
}

// --- answers -----------------------------------------------------------------------------------------------

bool Trainer::IsPending(const PendingPtr& pending) const {
  return std::find(pending_.begin(), pending_.end(), pending) != pending_.end();
}

// The same number has the same answer for ever, but for what power took from a memory that does not sync.
void Trainer::Remember(const MutationBody& body, const Answer& answer) {
  if (!answer.status.ok()) {
    ++counts_.refusals;
    return;
  }
  if (answer.era != history_->era() || answer.era != era_) return;
  seen_turn_ = std::max(seen_turn_, answer.turn);
  seen_epoch_ = std::max(seen_epoch_, answer.epoch);
  const auto [known, first] = answers_.try_emplace(body.digest, answer.bytes);
  EXPECT_TRUE(first || known->second == answer.bytes)
      << "number " << body.number << " got two different answers";
}

void Trainer::Done(const PendingPtr& pending) {
  ++counts_.mutations;
  std::erase(pending_, pending);
  old_bodies_.push_back(pending->body);
  if (old_bodies_.size() > 8) old_bodies_.pop_front();
}

void Trainer::Answered(const PendingPtr& pending, const Answer& answer) {
  Remember(*pending->body, answer);
  if (!IsPending(pending)) return;
  if (answer.status.ok()) return Done(pending);
  const std::string reason = ReasonOf(answer.status);
  const bool first = pending == pending_.front();
  if (reason == "SESSION_UNKNOWN" || reason == "STEP_TOO_OLD" || reason == "STEP_REUSED" ||
      reason == "BAD_ARGUMENT" || (reason == "STEP_OUT_OF_ORDER" && first && answer.era != era_)) {
    // Forgotten, or confused by a probe, or lost with the power: begin anew.
    seen_turn_ = std::min(seen_turn_, history_->turn());
    OpenSession();
    return;
  }
  if (reason == "STEP_OUT_OF_ORDER" && first) {
    const SessionModel& sessions = history_->now().sessions;
    const auto it = sessions.known.find(session_);
    // An earlier one may be under way still; but what lies behind the session's numbers can never come.
    if (it == sessions.known.end() || it->second.last_number + 1 < pending->body->number)
      return OpenSession();
  }
  if (reason == "UNACKNOWLEDGED_LIMIT") must_acknowledge_ = true;
  if (reason == "STALE_MEMORY") seen_epoch_ = std::stoull(DetailOf(answer.status)->metadata.at("epoch"));
  AttemptLater(pending, absl::Milliseconds(200));
}

}  // namespace evoke::testing
