// A target that answers when the test says so.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/load/target.h"
#include "evoke/error_details.h"

namespace evoke::load {

// Keeps what is sent until Answer or Refuse. Every mutation that is answered takes a turn and a step a row;
// an applied number is answered from its record, as a server would. Thread-compatible: replies come on the
// test's thread.
class HeldTarget final : public Target {
 public:
  struct Sent {
    int connection;
    Call* call;
    Done done;
  };

  void Start(int connection, Call* call, absl::Duration timeout, Done done) override {
    ++sent;
    if (!answers_itself) return held.push_back({connection, call, std::move(done)});
    threads_.emplace_back([this, call, done = std::move(done)] {
      Apply(call);
      done(absl::OkStatus());
    });
  }
  ~HeldTarget() override {
    for (std::thread& thread : threads_) thread.join();
  }

  // Answers the one that was sent first.
  void Answer() {
    Sent next = TakeFirst();
    Apply(next.call);
    next.done(absl::OkStatus());
  }
  void Refuse(const absl::Status& status, bool apply = false) {
    Sent next = TakeFirst();
    if (apply) Apply(next.call);
    next.call->ClearReply();
    next.done(status);
  }
  // Answers what is held now; not what is sent meanwhile.
  void AnswerAll() {
    for (size_t count = held.size(); count > 0; --count) Answer();
  }

  std::deque<Sent> held;
  int sent = 0;
  bool answers_itself = false;  // at once, on another thread; the test waits for it
  bool forgets = false;         // applies a number again that it has applied
  uint64_t turn = 0;
  uint64_t step = 0;

 private:
  Sent TakeFirst() {
    Sent first = std::move(held.front());
    held.pop_front();
    return first;
  }
  void Apply(Call* call) {
    v1::ReplyHeader* header = call->method == Method::kQuery    ? call->query_reply.mutable_header()
                              : call->method == Method::kUpdate ? call->update_reply.mutable_header()
                                                                : call->train_step_reply.mutable_header();
    header->set_epoch(1);
    if (call->method == Method::kQuery) {
      header->set_turn(turn);
      header->set_step(step);
      return call->query_reply.set_rows(call->rows());
    }
    const std::pair<std::string, uint64_t> id(call->mutation()->session(), call->mutation()->number());
    auto [record, fresh] = records_.try_emplace(id);
    if (fresh || forgets) record->second = {turn += 1, step += call->rows()};
    header->set_turn(record->second.first);
    header->set_step(record->second.second);
    if (call->method == Method::kUpdate) return call->update_reply.set_rows(call->rows());
    call->train_step_reply.set_rows(call->rows());
  }

  std::map<std::pair<std::string, uint64_t>, std::pair<uint64_t, uint64_t>> records_;  // turn, step
  std::vector<std::thread> threads_;
};

inline absl::Status ErrorOf(absl::StatusCode code, const std::string& reason = "",
                            std::optional<absl::Duration> delay = std::nullopt) {
  absl::Status status(code, "as the test wants it");
  client::ErrorDetails details;
  details.reason = reason;
  details.retry_delay = delay;
  client::SetErrorDetails(details, &status);
  return status;
}

}  // namespace evoke::load
